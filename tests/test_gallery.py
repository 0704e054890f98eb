import dataclasses
import io
import json
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from pagoda.data.ascents import Ascent, Settings, write_ascent
from pagoda.errors import BadInput
from pagoda.maths import alignment
from pagoda.page.build import gather
from pagoda.page.foils import high_frequency_fraction, low_passed
from pagoda.page.sheets import Sheets, sheet
from steps import gallery
from tests.conftest import changed

CLASSES = ("cat & dog", 'a/b "quoted", 1', "<script>window.hacked = 1</script>", "猫 nan%20#&=")
VIEWS = (("standard", 0.0, "images"), ("adversarial-1", 0.0, "images"), ("gaussian-0.5", 0.5, "images"),
         ("gaussian-0.5", 0.5, "seeds"))  # fmt: skip
EPSILONS = (1.0, 2.0)
STEPS, SOURCES = 9, 4


def made_ascent(model, sigma, start, epsilon, target, side=8, channels=3) -> Ascent:
    """An ascent with random pictures, each telling of its place; from seeds and noise, of sources of its own."""
    number = CLASSES.index(target)
    own = np.random.default_rng([number, start == "images"])
    source = own.integers(0, 256, (SOURCES, channels, side, side)).astype(np.uint8)
    rng = np.random.default_rng([number, int(10 * epsilon), *f"{model}{sigma}{start}".encode()])
    frames = rng.integers(0, 256, (4, *source.shape)).astype(np.uint8)
    frames[0] = source
    settings = Settings(
        model=model, model_hash=f"hash-{model}", objective=model.partition("-")[0], sigma=sigma, target=target,
        epsilon=epsilon, step=epsilon / 10, steps=STEPS, draws=16 if sigma else 1, check_draws=64 if sigma else 1,
        seed=7, classes=CLASSES, device="cpu", data="data", code="code", start=start, options={},
    )  # fmt: skip
    p_path = rng.uniform(0, 1, (STEPS, SOURCES)).astype(np.float32)
    return Ascent(
        settings=settings, source=source / np.float32(255), end=frames[-1] / np.float32(255), frames=frames,
        frame_steps=np.array([0, 3, 6, 9]), index=10 * number + np.arange(SOURCES),
        label=np.full(SOURCES, -1 if start == "noise" else number if start == "seeds" else (number + 1) % 4),
        p_path=p_path, p_before=rng.uniform(0, 1, SOURCES), p_after=rng.uniform(0, 1, SOURCES),
        norm=np.full(SOURCES, epsilon), split_half=rng.uniform(0, 1, SOURCES),
        gradients=rng.normal(0, 99, (4, SOURCES, 1, side, side)).clip(-127, 127).astype(np.int8).repeat(channels, 2),
    )  # fmt: skip


def write_set(folder: Path) -> tuple[gallery.Config, list[Ascent]]:
    """Write ascents, measures and tables of an experiment; return the step's config and the ascents."""
    folder.mkdir(exist_ok=True)
    ascents = [
        made_ascent(*view, epsilon, target)
        for view in VIEWS
        for epsilon in (EPSILONS if view[2] == "images" else EPSILONS[1:])
        for target in CLASSES
    ]
    paths, rows = [], []
    for number, ascent in enumerate(ascents):
        paths.append(folder / f"{number}.npz")
        write_ascent(paths[-1], ascent)
        s = ascent.settings
        rows += [
            {"view": s.view.label, "model": s.model, "sigma": s.sigma, "start": s.start, "epsilon": s.epsilon,
             "target": s.target, "index": index, "label": CLASSES[label], "contrastive": 0.1234 * index,
             "bayes": 0.1, "bayes_match": 1, "tangent": 0.5, "saliency": 0.2,
             "high_frequency": 0.8, "patches_before": CLASSES[label], "patches_after": s.target,
             "qda_before": "", "qda_after": "", "net_before": CLASSES[label], "net_after": CLASSES[label]}
            for index, label in zip(ascent.index, ascent.label, strict=True)
        ]  # fmt: skip
    summary = [
        {"view": a.settings.view.label, "model": a.settings.model, "sigma": a.settings.sigma, "start": a.settings.start,
         "objective": a.settings.objective, "epsilon": a.settings.epsilon, "n": 4, "contrastive": 0.25,
         "contrastive_low": 0.125, "contrastive_high": 0.375, "qda_gain": None, "qda_gain_low": None,
         "qda_gain_high": None, "flags": "N is too small <b>"}
        for a in ascents[:: len(CLASSES)]
    ]  # fmt: skip
    certified = [
        {"model": model, "sigma": 0.5, "radius": radius, "accuracy": 0.9 - radius / 2, "low": 0.8 - radius / 2,
         "high": 1 - radius / 2, "n": 100}
        for model in ("gaussian-0.5", "smoothadv-0.5", "envelope")
        for radius in (0.0, 0.25, 0.5)
    ]  # fmt: skip
    differences = [
        {"before": "standard, unsmoothed", "after": "trained under noise σ = 0.5, smoothed", "column": column,
         "mean": mean, "low": low, "high": high, "n": 12, "verdict": verdict}
        for column, mean, low, high, verdict in (
            ("contrastive", 0.25, 0.125, 0.5, "holds"), ("high_frequency", -0.4, None, None, "is not decided"))
    ]  # fmt: skip
    tables = {}
    given = {"measures": rows, "summary": summary, "certified": certified, "differences": differences}
    for name, table in given.items():
        tables[name] = folder / f"{name}.csv"
        pd.DataFrame(table).to_csv(tables[name], index=False)
    Image.new("RGB", (24, 9)).save(folder / "headline.png")
    config = gallery.Config(
        ascents=tuple(paths), measures=(tables["measures"],), summary=tables["summary"],
        differences=tables["differences"], headline=(folder / "headline.png",),
        certified=(tables["certified"],), out=folder / "index.html", experiment="example", config_hash="0123456789ab",
        epsilon=2.0, sources=3,
    )  # fmt: skip
    return config, ascents


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("gallery"))


def gathered(config: gallery.Config) -> dict:
    names = ("measures", "summary", "differences", "certified", "epsilon", "sources", "frames")
    sheets = Sheets(config.out, gallery.LIMIT)
    return gather(config.ascents, **{name: getattr(config, name) for name in names}, sheets=sheets)


def data_of(page: Path) -> dict:
    """What the page's script reads."""
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text(encoding="utf-8"), re.S).group(1))


def test_the_same_input_gives_the_same_page_and_names_stay_text(example):
    config, _ = example
    gallery.run(config)
    first = config.out.read_bytes()
    gallery.run(config)
    assert config.out.read_bytes() == first
    text = first.decode()
    assert text.count("<script") == 2 and "window.hacked" in text  # the data's and the page's own
    loaded = re.findall(r"""(?:src|href)=["']?([^"'\s>]*)|url\(|@import""", text.partition("<script")[0])
    assert {url for url in loaded if not url.startswith("data:")} == {"https://arxiv.org/abs/1910.08640"}
    data = data_of(config.out)
    assert data["classes"] == list(CLASSES)
    assert data["ascents"][0]["measures"][1]["judges"]["patches"] == [CLASSES[1], CLASSES[0]]
    assert set(data["ascents"][0]["measures"][0]["judges"]) == {"patches", "net"}
    assert data["summary"][0]["qda_gain"] is None


def test_a_sheet_holds_every_picture_exactly_and_the_shared_sources_once(example):
    config, ascents = example
    data = gathered(config)
    assert len({ascent["source_sheet"] for ascent in data["ascents"]}) == 2 * len(CLASSES)  # of images, of seeds
    for shown, ascent in zip(data["ascents"], ascents, strict=True):
        image = np.asarray(Image.open(io.BytesIO(b64decode(data["sheets"][shown["sheet"]].partition(",")[2]))))
        interleaved = image.reshape(3, 8, 3, 8, 3)  # source, row, frame, column, channel
        assert (interleaved.transpose(2, 0, 4, 1, 3) == ascent.frames[1:, :3]).all()
        assert shown["frame_steps"] == [0, 3, 6, 9]
        assert shown["path"][1][0] == pytest.approx(ascent.p_before[1], rel=1e-3)
        assert shown["path"][1][STEPS] == pytest.approx(ascent.p_after[1], rel=1e-3)


@pytest.mark.parametrize("side", [64, 65])
def test_sheets_are_exact_up_to_64_pixels_and_small_above(side):
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 1, side, side)).astype(np.uint8)
    image = Image.open(io.BytesIO(sheet(noise)[1]))
    assert image.size == (side, 6 * side)
    assert (image.format == "WEBP") if side == 65 else (np.asarray(image.convert("L"))[:3] == noise[0, :, 0, 0]).all()


def test_fewer_frames_keep_the_first_and_the_last(example):
    config, _ = example
    data = gathered(changed(config, frames=2, sources=1, measures=(), certified=()))
    assert {tuple(ascent["frame_steps"]) for ascent in data["ascents"]} == {(0, 9)}
    assert data["ascents"][0]["measures"] == [None] and data["certified"] == []


def test_the_page_opens_with_the_standard_model_beside_the_smoothed_one(example):
    data = gathered(example[0])
    assert [data["views"][data["first"][slot]]["key"] for slot in "ab"] == ["standard@0", "gaussian-0.5@0.5"]


def test_default_sizes_of_cifar10_fit_with_white_noise_in_every_unsmoothed_view():
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
    photograph = np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    size = 0
    for epsilon, views in ((5, 3), (10, 4), (20, 3)):  # 6 views, and at one epsilon 2 from seeds
        fixed, fresh = rng.normal(0, 255 * epsilon / 3072**0.5, (2, 4, 5, 3, 32, 32))
        white = 0.5**0.5 * (fixed[:, :1] + fresh)  # frames of an ascent resemble each other: correlation one half
        smooth = (white + np.roll(white, 1, -1) + np.roll(white, 1, -2) + np.roll(white, (1, 1), (-1, -2))) / 2
        for change in (white, smooth):
            size += 10 * views * len(sheet((photograph + change).clip(0, 255).round().astype(np.uint8))[1])
    assert 4 / 3 * size < 0.95 * gallery.LIMIT  # in Base64; the rest: sources


def test_a_large_page_has_its_sheets_beside_it_and_a_small_one_again_within(example, tmp_path, monkeypatch):
    config = changed(example[0], out=tmp_path / "index.html")
    gallery.run(config)
    within = data_of(config.out)
    assert not within["beside"] and list((tmp_path / "sheets").iterdir()) == []
    assert "img-src data:;" in config.out.read_text()
    monkeypatch.setattr(gallery, "LIMIT", 2000)
    gallery.run(config)
    beside = data_of(config.out)
    files = {str(path.relative_to(tmp_path)) for path in (tmp_path / "sheets").iterdir()}
    assert beside["beside"] and files == set(beside["sheets"]) and len(files) == len(within["sheets"])
    for name, url in zip(beside["sheets"], within["sheets"], strict=True):
        assert (tmp_path / name).read_bytes() == b64decode(url.partition(",")[2])
    assert "base64" not in config.out.read_text().partition("sheets")[2].partition("<script>")[0]
    assert {name: beside[name] for name in ("ascents", "foil")} == {name: within[name] for name in ("ascents", "foil")}
    monkeypatch.undo()
    gallery.run(config)
    assert data_of(config.out) == within and list((tmp_path / "sheets").iterdir()) == []


def test_a_foil_has_the_length_of_its_change_and_the_grain_of_the_other():
    draw = np.random.default_rng(0)
    source = draw.uniform(0.4, 0.6, (3, 16, 16))
    smooth = np.broadcast_to(0.1 * np.sin(np.arange(16) / 3), (3, 16, 16)) + draw.normal(0, 0.01, (3, 16, 16))
    end, like = source + draw.normal(0, 0.05, source.shape), source + smooth
    found = low_passed(source, end, like)
    fraction = high_frequency_fraction(like - source)
    assert 0.01 < fraction < 0.5 < high_frequency_fraction(end - source)
    assert high_frequency_fraction(found - source) == pytest.approx(fraction, abs=2e-3)
    assert np.linalg.norm(found - source) == pytest.approx(np.linalg.norm(end - source), rel=0.01)
    change = torch.tensor(found - source)[None]
    assert high_frequency_fraction(found - source) == pytest.approx(float(alignment.high_frequency_fraction(change)))
    assert np.array_equal(low_passed(source, like, end), like)


def test_without_a_view_to_compare_the_page_says_so(example, tmp_path):
    config, _ = example
    table = pd.read_csv(config.differences)
    table[:0].to_csv(tmp_path / "none.csv", index=False)
    lone = tuple(path for path in config.ascents[:8])
    out = tmp_path / "index.html"
    gallery.run(changed(config, ascents=lone, differences=tmp_path / "none.csv", out=out))
    assert "Nothing to compare" in out.read_text() and data_of(out)["foil"] is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lambda c: {"ascents": (*c.ascents, c.out.with_name("none.npz"))}, "no .*none.npz: the ascend step writes it"),
        (lambda c: {"ascents": c.ascents[:-1]}, r"0 ascents of trained .* from seeds at ε = 2 towards .*猫"),
        (lambda c: {"ascents": (*c.ascents, c.ascents[0])}, "2 ascents of standard, unsmoothed at ε = 1"),
        (lambda c: {"epsilon": 3.0}, "epsilon is 3: no ascent has it; choose from 1, 2"),
        (lambda c: {"measures": (c.summary,)}, "summary.csv is not a table that the align step wrote: it lacks the"),
        (lambda c: {"measures": (c.out.with_name("none.csv"),)}, "no .*none.csv: the align step writes it"),
        (lambda c: {"differences": c.summary}, "summary.csv is not a table that the align_summary step wrote"),
        (lambda c: {"summary": c.ascents[0]}, "0.npz is not a table that the align_summary step wrote"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_no_page(example, tmp_path, changes, said):
    config = changed(example[0], **changes(example[0]), out=tmp_path / "index.html")
    with pytest.raises(BadInput, match=said) as caught:
        gallery.run(config)
    assert "\n" not in str(caught.value) and not config.out.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"data": "other"}, "different datasets"), ({"model_hash": "new"}, "another standard than the ascents before it")],
)
def test_ascents_of_another_dataset_or_model_are_refused(example, tmp_path, changes, said):
    config, ascents = example
    settings = dataclasses.replace(ascents[1].settings, **changes)
    write_ascent(tmp_path / "odd.npz", dataclasses.replace(ascents[1], settings=settings))
    with pytest.raises(BadInput, match=said):
        gallery.run(changed(config, ascents=(config.ascents[0], tmp_path / "odd.npz")))


def test_an_unmeasured_picture_is_named(example, tmp_path):
    config, _ = example
    table = pd.read_csv(config.measures[0], keep_default_na=False)
    table.drop(index=1).to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(BadInput, match=r"no measures of standard, unsmoothed, ε = 1, class 'cat & dog', image #1"):
        gathered(changed(config, measures=(tmp_path / "less.csv",)))
