"""The figures beside the montages: animation, gradients, measures; the colours and the captions of the report."""

import itertools
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from matplotlib import colors
from PIL import Image

from pagoda.data.ascents import read_ascent, write_ascent
from pagoda.data.classes import class_in_path
from pagoda.data.registry import MEASURES
from pagoda.errors import BadInput
from pagoda.figures import animation as films
from pagoda.figures import panels, style
from pagoda.figures.designs import DESIGNS
from pagoda.figures.gradients import PANEL, caption, draw_gradients, read_gradients
from pagoda.figures.grid import _headings, enlarged, scale_of
from pagoda.figures.looks import name_of, view_colour, view_marker, view_name
from pagoda.figures.signed import spread
from pagoda.figures.text import shortened, width_of, wrapped
from pagoda.figures.together import p_after
from pagoda.options.check import check_config
from steps import gradients, measures, montage
from tests.conftest import ROOT
from tests.test_montage import ODD, SIDE, VIEWS, assert_table, invented, place

REPORT = ROOT / "workflow" / "report"
SIX = [("standard", 0), ("adversarial-1", 0), ("gaussian-0.5", 0), ("standard", 0.5), ("gaussian-0.5", 0.5)]
SIX += [("smoothadv-0.5", 0.5)]


def test_an_animation_holds_every_frame_pixel_by_pixel(tmp_path):
    paths = tuple(tmp_path / f"{k}.npz" for k in range(2))
    for k, path in enumerate(paths):
        write_ascent(path, invented(k, **VIEWS[k]))
    montage.run(montage.Config(kind="animation", ascents=paths, out=tmp_path / "a.png"))
    ascents, scale = [read_ascent(path) for path in paths], scale_of(SIDE, films.SOURCES, 2)
    with Image.open(tmp_path / "a.png") as film:
        assert (film.n_frames, film.info["loop"], film.mode) == (4, 0, "RGB") and film.default_image
        still = np.asarray(film.convert("RGB"))  # what is shown where nothing moves: the end
        shown = []
        for number in range(3):
            film.seek(number + 1)
            canvas = np.asarray(film.convert("RGB"))
            shown.append(film.info["duration"])
            assert_table(
                [[place(canvas, a.frames[number, k] / 255, scale) for k in range(films.SOURCES)] for a in ascents]
            )
    assert (still == canvas).all()
    assert shown == [films.FIRST, films.BETWEEN, films.LAST] and shown[-1] > shown[1]
    first = (tmp_path / "a.png").read_bytes()
    montage.run(montage.Config(kind="animation", ascents=paths, out=tmp_path / "a.png"))
    assert (tmp_path / "a.png").read_bytes() == first
    assert [p_after(ascents[0], done)[0] for done in (0, 15, 30)] == [
        ascents[0].p_before[0], ascents[0].p_path[15, 0], ascents[0].p_after[0]
    ]  # fmt: skip


def test_an_animation_is_of_one_class_at_one_epsilon(tmp_path):
    paths = (tmp_path / "0.npz", tmp_path / "1.npz")
    write_ascent(paths[0], invented(0, **VIEWS[0]))
    for other, said in (
        (invented(1, **VIEWS[0], epsilon=4.0), "one epsilon, but the ascents have epsilon 2.0, 4.0"),
        (replace(invented(1, **VIEWS[1]), frame_steps=np.array([0, 10, 30])), "different numbers of steps"),
        (replace(invented(1, **VIEWS[1]), index=np.arange(10) + 1), "start from different images"),
    ):
        write_ascent(paths[1], other)
        with pytest.raises(BadInput, match=said):
            montage.run(montage.Config(kind="animation", ascents=paths, out=tmp_path / "a.png"))
    with pytest.raises(BadInput, match=r"a.gif: its suffix must be .png"):
        montage.run(montage.Config(kind="animation", ascents=paths, out=tmp_path / "a.gif"))


@pytest.fixture
def kept(tmp_path):
    """Files of the gradients of two views of three pictures in colour."""
    draw = np.random.default_rng(0)
    image = draw.uniform(size=(3, 3, 8, 8))
    paths = tuple(tmp_path / f"{k}.npz" for k in range(2))
    for (model, sigma), path in zip((("standard", 0.0), ("gaussian-0.5", 0.5)), paths, strict=True):
        facts = {
            "view": f"{model} <b> $x$", "model": model, "model_hash": "0123456789ab", "sigma": sigma, "draws": 64,
            "seed": 0, "classes": ODD, "images": 21,
        }  # fmt: skip
        np.savez(
            path, image=image, gradient=draw.normal(0, 1e-4, image.shape), index=np.arange(3),
            label=np.array([3, 4, 5]), frequency=np.arange(1, 5) / 8, spectrum=draw.uniform(0.1, 9, 4),
            settings=json.dumps(facts),
        )  # fmt: skip
    return paths


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_gradients_are_drawn_at_three_deviations_beside_their_spectra(kept, tmp_path, suffix):
    out = tmp_path / f"g.{suffix}"
    gradients.run(gradients.Config(gradients=kept, out=out))
    first = out.read_bytes()
    gradients.run(gradients.Config(gradients=kept, out=out))
    assert out.read_bytes() == first
    views = [read_gradients(path) for path in kept]
    rows = [views[0].image] + [
        np.clip(0.5 + v.gradient / (6 * v.gradient.std((1, 2, 3), keepdims=True)), 0, 1) for v in views
    ]
    if suffix == "png":
        canvas = np.asarray(Image.open(out).convert("RGB"))
        assert_table([[place(canvas, picture, scale_of(8, 3, 3, beside=PANEL)) for picture in row] for row in rows])
    axes = draw_gradients(views).figure.axes[1]
    for view in views:
        (line,) = (line for line in axes.lines if line.get_label() == view.name)
        assert np.allclose(line.get_xydata(), np.column_stack([view.frequency, view.spectrum]))
    white = next(line for line in axes.lines if line.get_linestyle() == "--")
    assert set(white.get_ydata()) == {1} and axes.get_yscale() == "log"
    assert "n = 21" in caption(views)


def test_a_gradient_that_is_zero_is_mid_grey_and_other_images_are_refused(kept, tmp_path):
    assert (spread(np.zeros((1, 4, 4))) == 0.5).all()
    one, other = map(read_gradients, kept)
    with pytest.raises(BadInput, match="of other images"):
        draw_gradients([one, replace(other, image=other.image / 2)])
    for path, said in (
        (tmp_path / "none.npz", "no .*none.npz: the align step writes it"),
        (ROOT / "Makefile", "no file that the align step wrote"),
    ):
        with pytest.raises(BadInput, match=said):
            read_gradients(path)


@pytest.fixture
def summary(tmp_path):
    """A summary of six views from images at two epsilons, and one from seeds; one interval undefined."""
    draw = np.random.default_rng(0)
    rows = []
    for number, ((model, sigma), epsilon) in enumerate(itertools.product([*SIX, ("nan", 0)], (2, 4))):
        row = {
            "view": f"{model} at {sigma} <i>",
            "model": model,
            "sigma": sigma,
            "start": "images",
            "epsilon": epsilon,
            "n": 21,
        }
        for name in [measure.column for measure in MEASURES]:
            value = draw.uniform()
            row |= {name: value, f"{name}_low": value - 0.1, f"{name}_high": value + 0.05}
        rows.append(row | {"objective": model.split("-")[0], "flags": "N too small" if number == 3 else ""})
    rows[1] |= {"saliency_low": "", "saliency_high": ""}
    rows.append(rows[1] | {"start": "seeds", "view": "from seeds"})
    pd.DataFrame(rows).to_csv(tmp_path / "summary.csv", index=False)
    return tmp_path / "summary.csv"


def test_the_measures_stand_at_the_values_of_the_tables(summary, tmp_path):
    rows = panels.read_summary(summary, 4)
    assert list(rows.model) == [model for model, _ in SIX] + ["nan"]
    drawn = panels.draw_panels(rows, 4).axes
    for measure, axes in zip(MEASURES, drawn, strict=True):
        name = measure.column
        dots = [line for line in axes.lines if line.get_marker() != "None"]
        bars = {
            int(line.get_ydata()[0]): line.get_xdata()
            for line in axes.lines[measure.reference is not None :]
            if line.get_marker() == "None"
        }
        assert np.allclose([dot.get_xydata()[0] for dot in dots], np.column_stack([rows[name], range(7)]))
        assert [dot.get_color() for dot in dots] == [view_colour(row.model, row.sigma) for row in rows.itertuples()]
        hollow = [dot.get_markerfacecolor() == "white" for dot in dots]
        assert hollow == [name == "saliency" and k == 0 for k in range(7)]
        assert set(bars) == {k for k in range(7) if not hollow[k]}
        assert all(
            np.allclose(bar, rows.loc[k, [f"{name}_low", f"{name}_high"]].astype(float)) for k, bar in bars.items()
        )
        left, right = axes.get_xlim()
        assert all(left <= value <= right for value in rows[name])
    (white,) = (
        line
        for line in drawn[[measure.column for measure in MEASURES].index("high_frequency")].lines
        if line.get_linestyle() == "--"
    )
    assert white.get_xdata()[0] == pytest.approx(1 - np.pi / 16)
    text = panels.caption(rows, 4)
    assert "n = 21" in text and "undefined (saliency cosine)" in text
    assert "adversarial-1 at 0 <i>: N too small" in text


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_measures_are_drawn_the_same_again(summary, tmp_path, suffix):
    out = tmp_path / f"m.{suffix}"
    contents = []
    for _ in range(2):
        measures.run(measures.Config(summary=summary, epsilon=2, out=out))
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]


def test_measures_asked_of_what_is_not_there_say_so(summary, tmp_path):
    out = tmp_path / "m.png"
    for config, said in (
        (measures.Config(summary=summary, epsilon=3, out=out), "no view from images at ε = 3: it has 2, 4"),
        (
            measures.Config(summary=tmp_path / "no.csv", epsilon=4, out=out),
            "no .*no.csv: the align_summary step writes it",
        ),
    ):
        with pytest.raises(BadInput, match=said):
            measures.run(config)
    assert not out.exists()


# Linear RGB as it is seen without one kind of cone: Machado, Oliveira & Fernandes 2009, severity 1.
SIGHT = {
    "all cones": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


EXPERIMENTS = check_config(yaml.safe_load((ROOT / "config.yaml").read_text()))


@pytest.mark.parametrize("sight", SIGHT)
def test_views_can_be_told_apart_by_colour_or_marker(sight):
    def lab(view) -> np.ndarray:
        encoded = np.array(colors.to_rgb(view_colour(view.model, view.sigma)))
        linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
        seen = np.clip(SIGHT[sight] @ linear, 0, 1)
        xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]] @ seen / [0.9505, 1, 1.089]
        x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    for experiment in EXPERIMENTS.values():
        for views in ([view for view in experiment.views if view.start == "images"], experiment.certified):
            for one, other in itertools.combinations(views, 2):
                apart = np.linalg.norm(lab(one) - lab(other))
                assert apart > 10 or view_marker(one.model) != view_marker(other.model), (one, other)


def test_views_have_one_name_each_that_says_how_they_were_trained():
    assert view_name("gaussian-0.5", 0.5) == "trained under noise σ = 0.5, smoothed"
    assert view_name("standard", 0.25, "seeds") == "standard, smoothed with σ = 0.25, from seeds"
    assert view_name("adversarial-1-resnet-seed2", 0) == "adversarially trained ε = 1 (resnet-seed2), unsmoothed"
    assert view_name("pag-mine", 0) == "gradients drawn to class means (mine), unsmoothed"
    for experiment in EXPERIMENTS.values():
        views = set(experiment.views) | set(experiment.certified)
        assert len({name_of(view) for view in views}) == len(views)


def test_letters_that_no_font_has_are_named(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(style.logger, "propagate", True)
    figure = style.plt.figure()
    figure.text(0, 0, "a\U0001f9eb\U00012345\U0001f9ebb")
    style.save_figure(figure, tmp_path / "m.png")
    assert "m.png: no font here has these letters: \U00012345\U0001f9eb" in caplog.text


def test_text_fits_its_width():
    for text in (*ODD, "gaussian-0.5, smoothed with σ = 0.5", "a\nb\x00c"):
        assert width_of(shortened(text, 8, 90), 8) <= 90
        lines = wrapped(text, 8, 150)
        assert all(width_of(line, 8) <= 150 for line in lines)
        assert not any(re.search(r"[\x00-\x1f]", line) for line in lines)
    assert wrapped("smoothed with σ = 0.5", 8, 150)[-1].endswith("σ\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.5")


def test_headings_are_shortened_only_where_their_neighbours_leave_no_room():
    heads, size = _headings(["cat", "automobile", "dog", "automobile", "automobile", "ship"], 108)
    lines = [" ".join(head) for head in heads]
    assert lines[:3] == ["cat", "automobile", "dog"] and lines[3].endswith("…") and lines[4].endswith("…")
    widths = [width_of(line, size) for line in lines]
    assert all(one / 2 + other / 2 <= 108 for one, other in itertools.pairwise(widths))


def test_enlarging_makes_squares_of_pixels():
    picture = np.array([[[0.0, 1.0], [0.5, 2.0]]])
    assert enlarged(picture, 2)[:, :, 2].tolist() == [[0, 0, 255, 255]] * 2 + [[128, 128, 255, 255]] * 2


CAPTIONS = sorted(path for path in REPORT.glob("*.rst"))


@pytest.mark.parametrize("experiment", ["digits", "cifar10"])
@pytest.mark.parametrize("path", CAPTIONS, ids=lambda path: path.stem)
def test_captions_of_the_report_render_and_say_what_decides(path, experiment):
    ascend = EXPERIMENTS[experiment].ascend
    odd = "a *b* `c` |d| e_ \\f <script> $x$ 名前 :: {r/s} 9%"
    wildcards = SimpleNamespace(experiment=experiment, target=class_in_path(odd), eps="4")
    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    text = environment.from_string(path.read_text()).render(
        snakemake=SimpleNamespace(config={"experiments": EXPERIMENTS}, wildcards=wildcards)
    )
    body = publish_parts(text, writer="html5", settings_overrides={"halt_level": 2, "report_level": 2})["html_body"]
    words = re.sub(r"\s+", " ", re.sub("<[^>]*>", "", body))
    assert "system-message" not in body and "<script>" not in body
    if path.stem.startswith("montage"):
        assert f"{ascend.steps} steps of {ascend.step:g} ε" in words and "seed 0" in words
    if "snakemake.wildcards.target" in path.read_text():
        assert odd.replace("<script>", "&lt;script&gt;") in words
    if path.stem != "workflow":
        assert "ε = " in words or path.stem in ("gradients", "gallery", "certified_accuracy")


def test_every_output_of_the_report_has_a_caption_and_a_category():
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    named = {f"montage_{kind}" for kind in re.findall(r'^    "(\w+)": Montage\(', rules, re.M)}
    named |= set(re.findall(r'caption=f?"\.\./report/(\w+)\.rst"', rules)) - {"montage_"}
    assert {f"montage_{kind}" for kind in DESIGNS} < named
    assert named | {"workflow"} == {path.stem for path in CAPTIONS}
    assert set(re.findall(r'\bcategory="([^"]+)"', rules)) == {"1 Pictures", "2 Curves", "3 Tables", "4 Page"}
