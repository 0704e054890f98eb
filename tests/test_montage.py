import dataclasses
import itertools

import numpy as np
import pytest
from PIL import Image

from steps import ascend, montage
from steps.data.ascents import read_ascent
from steps.run.errors import BadInput


@pytest.fixture
def ascents(model, dataset, tmp_path):
    """Files of two views at two epsilons towards two classes, in that order."""
    paths = []
    for sigma, epsilon, target in itertools.product((0.0, 0.5), (1.0, 2.0), ("3", "7")):
        out = tmp_path / f"sigma={sigma}" / f"eps={epsilon}" / f"class={target}.npz"
        ascend.run(
            ascend.Config(
                model=model, data=dataset, out=out, target=target, sigma=sigma, epsilon=epsilon,
                images=4, steps=2, step=0.5, draws=2, check_draws=4,
            )
        )  # fmt: skip
        paths.append(out)
    return paths


def pictures_in(path, ascent_files):
    """Which source and end pictures of the ascents stand, pixel for pixel and enlarged, in the montage."""
    canvas = np.asarray(Image.open(path).convert("RGB"))
    scale = montage.CELL // 8
    found = set()
    for file, (name, pictures) in itertools.product(
        ascent_files, (("source", lambda a: a.source), ("end", lambda a: a.end))
    ):
        for number, picture in enumerate(pictures(read_ascent(file))):
            # The upper half: the corner below bears a number.
            half = (picture[0, :4].repeat(scale, 0).repeat(scale, 1) * 255).round().astype(int)
            windows = np.lib.stride_tricks.sliding_window_view(canvas[:, :, 0], half.shape)[:, :, 0, 0]
            for y, x in zip(*np.nonzero(np.abs(windows.astype(int) - half[0, 0]) <= 1), strict=True):
                if np.abs(canvas[y : y + half.shape[0], x : x + half.shape[1], 0] - half).max() <= 1:
                    found.add((file, name, number))
                    break
    return found


@pytest.mark.parametrize(
    ("kind", "chosen", "shown"),
    [
        ("headline", lambda path: "eps=2.0" in str(path), 1),
        ("eps", lambda path: "eps=2.0" in str(path), 3),
        ("class", lambda path: "class=7" in str(path), 4),
    ],
)
def test_a_montage_shows_every_source_and_end_enlarged_pixel_by_pixel(ascents, tmp_path, kind, chosen, shown):
    files = tuple(path for path in ascents if chosen(path))
    out = tmp_path / "m.png"
    montage.run(montage.Config(kind=kind, ascents=files, out=out))
    found = pictures_in(out, files)
    assert found >= set(itertools.product(files, ("source",), range(shown)))
    assert {entry for entry in found if entry[1] == "end"} == set(itertools.product(files, ("end",), range(shown)))
    first = out.read_bytes()
    montage.run(montage.Config(kind=kind, ascents=files, out=out))
    assert out.read_bytes() == first


def test_captions_say_what_decides_the_picture(ascents):
    read = [read_ascent(path) for path in ascents]
    text = montage.caption(read)
    for value in (
        "ε = 1, 2",
        "0.125, 0.25",
        "2 steps of 0.5, 1",
        "σ = 0.5",
        "N = 2",
        "seed 0",
        read[0].settings.model_hash,
    ):
        assert value in text


def test_ascents_that_do_not_belong_together_are_refused(ascents, tmp_path):
    out = tmp_path / "m.png"
    for kind, files, said in (
        ("headline", ascents, "do not make a table of 2 views by 2 classes"),
        ("headline", ascents[:1] + ascents[5:6], "do not make a table"),
        ("class", ascents, "one target class"),
        ("class", [], "no ascents"),
        ("collage", ascents, "'collage' is unknown: choose from headline, eps, class"),
        ("class", [tmp_path / "none.npz"], "no ascent at .*none.npz"),
    ):
        with pytest.raises(BadInput, match=said):
            montage.run(montage.Config(kind=kind, ascents=tuple(files), out=out))
    assert not out.exists()


def test_long_and_foreign_class_names_are_drawn(ascents, tmp_path):
    read = [read_ascent(path) for path in ascents if "class=3" in str(path)]
    named = tuple(f"名前 <b>{k}</b> $x_{k}$ " + "long " * 9 for k in range(10))
    for ascent in read:
        object.__setattr__(ascent, "settings", dataclasses.replace(ascent.settings, classes=named))
    rows, columns, title = montage.by_class(read)
    montage.draw(rows, columns, title, montage.caption(read), tmp_path / "m.png")
