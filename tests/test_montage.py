import base64
import io
import itertools
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import stats

from pagoda.data.alignments import read_rows
from pagoda.data.ascents import Ascent, Settings, read_ascent, write_ascent
from pagoda.errors import BadInput
from pagoda.figures import designs
from pagoda.figures.grid import enlarged, scale_of
from pagoda.figures.looks import name_of
from pagoda.figures.signed import signed
from steps import ascend, montage

SIDE, SOURCES, FRAMES = 6, 10, 3
ODD = ("a b", 'it\'s "x"', "back\\slash", "<script>alert(1)</script>", "$x$", "名前", "&amp;", "ß/ö", "nan", "-" * 90)


def invented(number: int = 0, start: str = "images", **changes) -> Ascent:
    """Return an ascent with random pictures and numbers of its own."""
    draw = np.random.default_rng(number)
    settings = Settings(
        model="gaussian-0.5", model_hash=f"{number:012x}", objective="gaussian", sigma=0.5, target="3", epsilon=2.0,
        step=0.2, steps=30, draws=16, check_draws=256, seed=7, classes=tuple("0123456789"), device="cpu", data="",
        code="", start=start, options={},
    )  # fmt: skip
    frames = draw.integers(0, 256, (FRAMES, SOURCES, 1, SIDE, SIDE), dtype=np.uint8)
    unit = draw.uniform(size=(3, SOURCES))
    return Ascent(
        settings=replace(settings, **changes), source=frames[0] / np.float32(255), end=frames[-1] / np.float32(255),
        frames=frames, frame_steps=np.array([0, 15, 30]), index=np.arange(SOURCES), label=np.arange(SOURCES) % 3,
        p_path=draw.uniform(size=(30, SOURCES)), p_before=unit[0], p_after=unit[1], norm=2 * unit[1],
        split_half=unit[2], gradients=draw.normal(0, 32, frames.shape).clip(-127, 127).astype(np.int8),
    )  # fmt: skip


@pytest.fixture
def write(tmp_path):
    """Write ascents to files and return their paths."""

    def written(ascents: list[Ascent]) -> tuple:
        paths = tuple(tmp_path / "ascents" / f"{number}.npz" for number in range(len(ascents)))
        for path, ascent in zip(paths, ascents, strict=True):
            write_ascent(path, ascent)
        return paths

    return written


def drawn(path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def place(canvas: np.ndarray, picture: np.ndarray, scale: int) -> tuple[int, int]:
    """Return (y, x) of the first place where `picture` stands in `canvas`, enlarged `scale` times, pixel by pixel."""
    block = enlarged(picture, scale)
    height, width = block.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(canvas[:, :, 0], (height, width))[..., ::scale, ::scale]
    small = block[::scale, ::scale, 0]
    for y, x in zip(
        *np.nonzero((windows[..., 0, 0] == small[0, 0]) & (windows[..., -1, -1] == small[-1, -1])), strict=True
    ):
        if np.array_equal(canvas[y : y + height, x : x + width], block):
            return int(y), int(x)
    raise AssertionError("the picture is not in the canvas")


def assert_table(places: list[list[tuple[int, int]]]) -> None:
    """Check that places make a table: one height a row, one left edge a column, both growing."""
    heights, edges = (
        [{y for y, _ in row} for row in places],
        [{x for _, x in column} for column in zip(*places, strict=True)],
    )
    assert all(len(found) == 1 for found in heights + edges)
    assert heights == sorted(heights, key=min) and edges == sorted(edges, key=min)
    assert len(set(map(min, heights))) == len(places) and len(set(map(min, edges))) == len(places[0])


VIEWS = ({"model": "standard", "sigma": 0.0}, {"model": "gaussian-0.5", "sigma": 0.5})


@pytest.fixture
def table():
    """Ascents of two views towards two classes, view by view."""
    cells = itertools.product(VIEWS, ("3", "7"))
    return [invented(number, target=target, **view) for number, (view, target) in enumerate(cells)]


def measures(ascents: list[Ascent], path) -> pd.DataFrame:
    """Write a table as the align step does; judges see what the index says: target, other, or (qda) do not judge."""
    rows = [
        {"view": a.settings.view.label, "epsilon": a.settings.epsilon, "target": a.settings.target, "index": index,
         "label": "nan", "patches_after": a.settings.target, "qda_after": "" if index == 1 else "0",
         "net_after": a.settings.target if k else "9"}
        for k, a in enumerate(ascents)
        for index in a.index
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame.to_csv(path, index=False)
    return frame


def test_ascents_of_a_model_are_shown_pixel_by_pixel(model, dataset, tmp_path):
    out = tmp_path / "a.npz"
    known = {"model": model, "data": dataset, "out": out, "target": "3", "sigma": 0.5, "epsilon": 1.0}
    ascend.run(ascend.Config(**known, images=4, steps=2, step=0.5, draws=2, check_draws=4))
    montage.run(montage.Config(kind="class", ascents=(out,), out=tmp_path / "m.png"))
    canvas, ascent, scale = drawn(tmp_path / "m.png"), read_ascent(out), scale_of(8, 4, 2)
    assert_table([[place(canvas, p, scale) for p in row] for row in (ascent.source, ascent.end)])


@pytest.mark.parametrize(("kind", "blocks"), [("headline", 3), ("controls", 1), ("eps", 3)])
def test_views_are_rows_and_classes_columns_below_their_sources(table, write, tmp_path, kind, blocks):
    out = tmp_path / "m.png"
    montage.run(montage.Config(kind=kind, ascents=write(table), out=out))
    canvas, scale = drawn(out), scale_of(SIDE, 2, 3 * blocks)
    rows = [pick for k in range(blocks) for pick in ([table[0].source[k], table[1].source[k]],
            [table[0].end[k], table[1].end[k]], [table[2].end[k], table[3].end[k]])]  # fmt: skip
    assert_table([[place(canvas, picture, scale) for picture in row] for row in rows])


def test_blocks_start_from_sources_of_different_classes(table, tmp_path):
    label = np.array([4, 4, 1, 4, 2, 1] + [0] * (len(table[0].label) - 6))
    made = designs.by_target([replace(ascent, label=label) for ascent in table], {}, blocks=5)
    assert [row.left[0] for row in made.rows[::3]] == ["4", "1", "2", "0", "4"]
    for row, place in zip(made.rows[1::3], (0, 2, 4, 6, 1), strict=True):
        assert np.array_equal(row.pictures[1], table[1].end[place])


def test_a_class_montage_shows_the_first_sources_at_every_epsilon(write, tmp_path):
    ascents = [invented(k, epsilon=e, **view) for k, (view, e) in enumerate(itertools.product(VIEWS, (2.0, 4.0)))]
    made = montage.run(montage.Config(kind="class", ascents=write(ascents), out=tmp_path / "m.png"))
    rows = [ascents[0].source, *(a.end for a in ascents)]
    canvas, scale = drawn(tmp_path / "m.png"), scale_of(SIDE, designs.SOURCES, 5)
    assert_table([[place(canvas, picture, scale) for picture in row[: designs.SOURCES]] for row in rows])
    assert made.columns == [f"image #{k}" for k in range(designs.SOURCES)]


def test_verdicts_count_the_judges_that_judge(table, write, tmp_path):
    measures(table, tmp_path / "align.csv")
    config = montage.Config(
        kind="controls", ascents=write(table), out=tmp_path / "m.png", measures=(tmp_path / "align.csv",)
    )
    made = montage.run(config)
    assert [row.right for row in made.rows] == [None, ["1/3", "2/3"], ["2/3", "2/3"]]
    assert made.rows[1].left == [f"{a.p_after[0]:.2f}" for a in table[:2]]
    second = designs.by_target(table, read_rows(config.measures, designs.AFTER), blocks=2).rows[4]
    assert second.right == ["1/2", "2/2"]  # no judge that has nothing to say
    assert "how many of the judges" in made.caption and "judges" not in designs.by_target(table, {}, blocks=1).caption


def test_a_picture_without_a_verdict_is_named(table, write, tmp_path):
    frame, path = measures(table, tmp_path / "align.csv"), tmp_path / "align.csv"
    frame[~((frame.view == table[3].settings.view.label) & (frame.target == "7") & (frame["index"] == 0))].to_csv(
        path, index=False
    )
    with pytest.raises(BadInput, match=r"gaussian-0.5, smoothed with σ = 0.5, ε = 2, class '7', image #0"):
        montage.run(montage.Config(kind="headline", ascents=write(table), out=tmp_path / "m.png", measures=(path,)))
    frame[:0].to_csv(path, index=False)
    with pytest.raises(BadInput, match="no rows"):
        read_rows((path,), designs.AFTER)
    path.write_text("view,epsilon\n")
    with pytest.raises(BadInput, match="align.csv is not a table that the align step wrote"):
        read_rows((path,), designs.AFTER)


def test_the_ladder_rises_and_shows_the_change_on_one_signed_scale(write, tmp_path):
    ascents = [invented(k, epsilon=e, **view) for k, (view, e) in enumerate(itertools.product(VIEWS, (4.0, 2.0)))]
    made = montage.run(montage.Config(kind="ladder", ascents=write(ascents), out=tmp_path / "m.png"))
    canvas, scale = drawn(tmp_path / "m.png"), scale_of(SIDE, 5, 2)
    changes = [a.end[0, 0].astype(float) - a.source[0, 0] for a in ascents]
    reach = np.percentile(np.abs(changes), 99)
    assert [end.strip("+−") for end in made.key.ends] == [f"{reach:.2g}", "0", f"{reach:.2g}"]
    shown = [row.pictures[column] for row in made.rows for column in (4, 2)]  # as the ascents stand above
    for change, picture in zip(changes, shown, strict=True):
        red, _, blue = picture
        assert ((red > blue)[change > 0.02 * reach]).all() and ((blue > red)[change < -0.02 * reach]).all()
    # ColorBrewer's RdBu: its ends and its middle.
    ends = signed(np.array([[[-1.0, 0.0, 1.0]]]), 1)[:, 0].T
    assert np.allclose(255 * ends, [[5, 48, 97], [247, 247, 247], [103, 0, 31]], atol=1.5)
    rows = [[low.source[0], low.end[0], high.end[0]] for high, low in (ascents[:2], ascents[2:])]
    assert_table([[place(canvas, picture, scale) for picture in row[1:]] for row in rows])
    assert made.columns == ["source", "ε = 2, RMS 0.33", "its change", "ε = 4, RMS 0.67", "its change"]
    notes = [[f"{a.p_after[0]:.2f}", f"‖δ‖ {a.norm[0]:.2f}"] for a in (ascents[1], ascents[0])]
    assert made.rows[0].left == ["0", *notes[0], *notes[1]]


def test_the_steps_of_an_animation_stand_beside_each_other(write, tmp_path):
    ascents = [invented(k, **view) for k, view in enumerate(VIEWS)]
    made = montage.run(montage.Config(kind="steps", ascents=write(ascents), out=tmp_path / "m.png"))
    canvas, scale = drawn(tmp_path / "m.png"), scale_of(SIDE, 3, 2)
    assert_table([[place(canvas, a.frames[k, 0] / 255, scale) for k in range(3)] for a in ascents])
    assert made.columns == ["step 0", "step 15", "step 30"]
    assert made.rows[0].left == [f"{a:.2f}" for a in (ascents[0].p_before[0], ascents[0].p_path[15, 0],
                                                      ascents[0].p_after[0])]  # fmt: skip


def test_the_sweep_has_sigmas_as_rows_and_draws_as_columns_and_gradients_below(write, tmp_path):
    grid = [(sigma, n) for sigma in (0.25, 1.0) for n in (1, 4, 16)]
    ascents = [invented(k, model=f"gaussian-{s:g}", sigma=s, draws=n) for k, (s, n) in enumerate(grid)]
    made = montage.run(montage.Config(kind="sweep", ascents=write(ascents), out=tmp_path / "m.png"))
    canvas, scale = drawn(tmp_path / "m.png"), scale_of(SIDE, 4, 4)
    slopes = [np.clip(0.5 + a.gradients[0, 0] / (6 * a.gradients[0, 0].std()), 0, 1) for a in ascents]
    rows = [[a.end[0] for a in ascents[:3]], slopes[:3], [a.end[0] for a in ascents[3:]], slopes[3:]]
    assert_table([[place(canvas, picture, scale) for picture in row] for row in rows])
    assert made.columns == ["source", "N = 1", "N = 4", "N = 16"]
    values = ascents[3].split_half
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    bracket = f"[{values.mean() - half:.2f}, {values.mean() + half:.2f}]".replace("0.", ".")
    assert (made.rows[3].left[1], made.rows[3].right[1]) == (f"{values.mean():.2f}".lstrip("0"), bracket)


def test_the_synthesis_shows_each_start_once_above_its_ends(write, tmp_path):
    cells = itertools.product(("seeds", "noise"), VIEWS, ("3", "7"))
    ascents = [invented(k, start=start, target=t, **view) for k, (start, view, t) in enumerate(cells)]
    made = montage.run(montage.Config(kind="synthesis", ascents=write(ascents), out=tmp_path / "m.png"))
    names = [name_of(a.settings.view) for a in ascents[::2]]
    assert [row.label for row in made.rows] == ["seeds", *names[:2], "noise", *names[2:]]
    assert made.rows[0].left == [f"{a.p_before[0]:.2f}" for a in ascents[2:4]]
    canvas, scale = drawn(tmp_path / "m.png"), scale_of(SIDE, 2, 6)
    rows = [[a.end[0] for a in ascents[k : k + 2]] for k in (0, 2, 4, 6)]
    assert_table([[place(canvas, picture, scale) for picture in row] for row in rows])
    assert "Gaussian fitted" in made.caption and "noise" in made.caption
    with pytest.raises(BadInput, match="starts from images"):
        montage.run(montage.Config(kind="synthesis", ascents=write([invented()]), out=tmp_path / "m.png"))


@pytest.mark.parametrize("suffix", ["md", "tex"])
def test_captions_are_to_be_had_as_text_and_are_in_the_picture(write, tmp_path, suffix):
    odd = [invented(k, **view, target=target, classes=ODD) for k, (view, target) in
           enumerate(itertools.product(VIEWS, ODD))]  # fmt: skip
    config = montage.Config(kind="headline", ascents=write(odd), out=tmp_path / f"m.{suffix}")
    made = montage.run(config)
    text = config.out.read_text()
    if suffix == "tex":
        assert text.isascii() and r"\includegraphics[width=\linewidth]{m}" in text and r"$\sigma$ = 0.5" in text
    else:
        assert made.caption in text and "seed 7" in text
    montage.run(config.model_copy(update={"out": tmp_path / "m.png"}))
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.info["Description"].endswith(made.caption)
    assert len(made.columns) == 6 and "seed 7" not in made.brief and "own p̄ₜ" in made.brief


def test_captions_say_what_decides_the_picture(table):
    other = replace(table[3], settings=replace(table[3].settings, epsilon=4.0))
    text = designs.made_by([*table, other])
    values = (
        "ε = 2, 4 in",
        "0.333, 0.667",
        "30 steps of 0.2",
        "σ = 0.5",
        "N = 16",
        "seed 7",
        table[0].settings.model_hash,
    )
    assert all(value in text for value in values)


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_every_format_is_the_same_again_and_draws_any_class_name(write, tmp_path, suffix):
    cells = itertools.product(VIEWS, ODD)
    odd = [invented(k, **view, target=target, classes=ODD) for k, (view, target) in enumerate(cells)]
    out = tmp_path / f"m.{suffix}"
    contents = []
    for _ in range(2):
        montage.run(montage.Config(kind="headline", ascents=write(odd), out=out))
        contents.append(out.read_bytes())
    assert contents[0] == contents[1]
    if suffix == "pdf":
        assert contents[0].startswith(b"%PDF-") and contents[0].rstrip().endswith(b"%%EOF")
        assert b"CreationDate" not in contents[0] and b"/Type /Font" in contents[0]
    if suffix == "svg":
        root = ElementTree.fromstring(contents[0])
        words = ["".join(node.itertext()).replace("\N{NO-BREAK SPACE}", " ") for node in root.findall(".//{*}text")]
        assert {"a b", "$x$"} <= set(words) and any("own p̄ₜ" in line for line in words)
        (image,) = root.findall(".//{*}image")
        data = re.sub(r"\s", "", image.get("{http://www.w3.org/1999/xlink}href").partition(",")[2])
        canvas = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        assert place(canvas, odd[0].end[0], scale_of(SIDE, designs.CLASSES, 9)) and "pixelated" in image.get("style")


def test_ascents_that_do_not_belong_together_are_refused(table, write, tmp_path):
    files, lone = write(table), tmp_path / "none.npz"
    other = replace(table[0], settings=replace(table[0].settings, epsilon=4.0))
    foreign = replace(table[0], settings=replace(table[0].settings, classes=("cat", "3")))
    for kind, chosen, said in (
        ("headline", files[:3], "3 ascents do not make a table of 2 views by 2 classes"),
        ("ladder", files[:1] * 2, "do not make a table"),
        ("class", files, "one target class, but the ascents have target 3, 7"),
        ("sweep", files, "one target class"),
        ("headline", (*files, lone), "no .*none.npz: the ascend step writes it"),
    ):
        with pytest.raises(BadInput, match=said):
            montage.run(montage.Config(kind=kind, ascents=chosen, out=tmp_path / "m.png"))
    moved = replace(table[3], index=table[3].index + 1)
    for chosen, said in (
        ([*table, other], "have epsilon 2.0, 4.0"),
        ([*table, foreign], "different datasets"),
        ([*table[:3], moved], "start from different images"),
    ):
        with pytest.raises(BadInput, match=said):
            montage.run(montage.Config(kind="eps", ascents=write(chosen), out=tmp_path / "m.png"))
    with pytest.raises(BadInput, match=r"m.jpg: its suffix must be one of .png, .pdf, .svg"):
        montage.run(montage.Config(kind="headline", ascents=write(table), out=tmp_path / "m.jpg"))
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.parametrize("changes", [{"kind": "collage"}, {"ascents": ()}])
def test_a_montage_needs_ascents_and_a_kind_that_there_is(tmp_path, changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        montage.Config(**{"kind": "class", "ascents": (tmp_path,), "out": tmp_path / "m.png"} | changes)


def test_the_ablation_has_a_row_a_model_and_score(write, tmp_path):
    kinds = [(score, target) for score in ("log-p", "logit", "untargeted") for target in ("3", "7")]
    ascents = [invented(k, score=score, target=target) for k, (score, target) in enumerate(kinds)]
    asked = montage.Config(kind="ablation", ascents=write(ascents), out=tmp_path / "a.png")
    made = montage.run(asked)
    assert [row.label.partition(": ")[2] for row in made.rows] == [
        "", "log p̄ₜ", "mean logit of the target", "−log p̄ₜ of the own class",
    ]  # fmt: skip
    assert made.columns == ["3", "7"] and np.array_equal(made.rows[2].pictures[1], ascents[3].end[0])
