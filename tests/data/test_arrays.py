"""Pictures and labels in arrays: .npz, .npy, folders of Hugging Face's `datasets`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pagoda.data.arrays import shaped_picture
from pagoda.data.dataset import Split
from pagoda.data.decode import Look
from pagoda.errors import BadInput
from steps import fetch

SOURCE = np.random.default_rng(0)
COLOURS = SOURCE.integers(0, 256, (12, 16, 16, 3), np.uint8)
LABELS = np.arange(12) % 3


def fetched(root: Path, **settings):
    out = root.parent / "fetch" / "dataset.json"
    described = fetch.run(fetch.Config(**{"kind": "arrays", "root": str(root), "size": 16, "out": out} | settings))
    return described, Split(out, "train"), Split(out, "test")


def same(split: Split, pictures: np.ndarray, labels: np.ndarray) -> bool:
    """Tell whether a split holds pictures, [N, H, W, C], with their labels, in whatever order."""
    wanted = {
        (picture.transpose(2, 0, 1).tobytes(), int(label)) for picture, label in zip(pictures, labels, strict=True)
    }
    found = {(p.numpy().tobytes(), int(y)) for p, y in zip(split.pixels, split.labels, strict=True)}
    return wanted == found and len(split) == len(labels)


def halves(pictures, labels, called: str) -> dict:
    """Return arrays as {called} names them, {what} and {split} in it; two thirds are for training."""
    parts = {"train": slice(8), "test": slice(8, None)}
    if called.startswith("x_"):
        return {f"{w}_{s}": v[part] for s, part in parts.items() for w, v in (("x", pictures), ("y", labels))}
    return {f"{s}_{w}": v[part] for s, part in parts.items() for w, v in (("images", pictures), ("labels", labels))}


@pytest.mark.parametrize("called", ["train_images", "x_train"])
@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_arrays_are_taken_by_the_names_that_people_give_them(tmp_path, called, suffix):
    found, root = halves(COLOURS, LABELS[:, None], called), tmp_path / "mine"
    if suffix == "npz":
        root = root.with_suffix(".npz")
        np.savez(root, val_images=COLOURS[:2], **found)
    else:
        root.mkdir()
        for name, values in found.items():
            np.save(root / f"{name}.npy", values)
    described, train, test = fetched(root)
    assert described.classes == ("0", "1", "2")
    assert same(train, COLOURS[:8], LABELS[:8]) and same(test, COLOURS[8:], LABELS[8:])
    assert ("left out 1, arrays of another name: val_images" in described.notes) == (suffix == "npz")


def test_a_share_of_images_and_labels_is_held_out_and_names_are_kept(tmp_path):
    names = np.array(["cat", "dog", "bird"])
    np.savez(tmp_path / "a.npz", images=COLOURS.transpose(0, 3, 1, 2), labels=names[LABELS])
    described, train, test = fetched(tmp_path / "a.npz", split=0.25)
    assert described.classes == ("bird", "cat", "dog") and (len(train), len(test)) == (9, 3)
    assert sorted(test.labels.tolist()) == [0, 1, 2]
    np.savez(tmp_path / "b.npz", images=COLOURS, labels=LABELS, classes=names)
    assert fetched(tmp_path / "b.npz", split=0.25)[0].classes == ("cat", "dog", "bird")


@pytest.mark.parametrize(
    ("values", "black_white"),
    [
        (np.arange(256), (0, 255)),
        ((np.arange(256) * 257).astype(np.uint16), ()),
        ((np.arange(256) / 127.5 - 1).astype(np.float32), (-1, 1)),
        (np.arange(256, dtype=np.uint8), ()),
    ],
)
def test_values_are_scaled_by_their_range(values, black_white):
    wanted = np.arange(256).reshape(16, 16)
    picture = values.reshape(16, 16)
    for given in (picture, picture[..., None], picture[None], np.stack([picture] * 3), np.stack([picture] * 3, -1)):
        found = shaped_picture(given, Look((16, 16), range=black_white))
        assert found.shape == (3, 16, 16) and (found == wanted).all()
    if values.dtype.kind == "f" or values.dtype.itemsize == 8:
        with pytest.raises(ValueError, match=r"it holds \w+; say which values are black and white: `range"):
            shaped_picture(picture, Look((16, 16)))


@pytest.mark.parametrize(
    ("arrays", "settings", "said"),
    [
        ({"x_train": COLOURS}, {}, r"holds x_train: train_images, .*; `split: 0\.1` holds"),
        (halves(COLOURS, LABELS, ""), {"split": 0.5}, r"split is 0\.5, but .* has a split called test"),
        ({"images": COLOURS, "labels": LABELS[:9]}, {"split": 0.2}, "images has 12 entries, labels 9"),
        ({"images": 3, "labels": LABELS}, {"split": 0.2}, "images has 1 entries, labels 12"),
        (
            {"images": COLOURS, "labels": LABELS, "classes": np.array(["cat", "dog", "cat"])},
            {"split": 0.2},
            "several classes are called cat$",
        ),
        ({"images": COLOURS, "labels": LABELS * 0}, {"split": 0.2}, "holds the one class '0': at least 2"),
        ({"images": COLOURS, "labels": LABELS / 2}, {"split": 0.2}, "labels is float64 of shape"),
        ({"images": COLOURS / 255, "labels": LABELS}, {"split": 0.2}, r"picture 0 of all: it holds float64; say which"),
        (halves(COLOURS, np.r_[LABELS[:8], [3, 3, 3, 3]], ""), {}, "different classes: in one alone are 0, 1, 2, 3"),
        (
            {"images": COLOURS, "labels": LABELS},
            {"split": 0.2, "storage": "files"},
            "is files: arrays has arrays alone",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(tmp_path, arrays, settings, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInput, match=said):
        fetched(tmp_path / "a.npz", **settings)


def test_what_is_no_array_is_refused_and_no_object_is_read(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"x")
    np.savez(tmp_path / "b.npz", images=COLOURS, labels=np.array([{}] * 12))
    np.savez(tmp_path / "whole.npz", images=COLOURS, labels=LABELS)
    whole = (tmp_path / "whole.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(whole[:2000])
    (tmp_path / "wrong.npz").write_bytes(whole[:2000] + bytes(50) + whole[2050:])
    (tmp_path / "no.npz").touch()
    np.save(tmp_path / "one.npy", COLOURS)
    (tmp_path / "empty").mkdir()
    for name, said in (
        ("a.npz", "cannot read the arrays"),
        ("b.npz", "cannot read labels"),
        ("torn.npz", "cannot read the arrays"),
        ("no.npz", "cannot read the arrays"),
        ("wrong.npz", "cannot read images of .*Bad CRC"),
        ("one.npy", "it is one array; an .npz, or a folder"),
        ("empty", "holds no .npy"),
    ):
        with pytest.raises(BadInput, match=said):
            fetched(tmp_path / name, split=0.2)


def test_pictures_that_stand_twice_are_warned_of(tmp_path):
    twice = COLOURS.copy()
    twice[9] = twice[0]  # label 0, as picture 0 has
    twice[11] = twice[3]  # label 2, not 0
    np.savez(tmp_path / "a.npz", **halves(twice, LABELS, ""))
    notes = "\n".join(fetched(tmp_path / "a.npz")[0].notes)
    assert "2 pictures stand in train and in test: " in notes and "1 pictures stand under two labels: " in notes


@pytest.mark.filterwarnings("ignore")  # those of datasets
@pytest.mark.parametrize("form", ["saved", "parquet"])
def test_a_hugging_face_folder(tmp_path, form, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features(
        {"picture": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "bird"])}
    )
    rows = {
        name: datasets.Dataset.from_dict(
            {"picture": [Image.fromarray(p) for p in COLOURS[part]], "label": LABELS[part].tolist()}, features=features
        )
        for name, part in (("train", slice(8)), ("validation", slice(8, None)))
    }
    root = tmp_path / "mine"
    if form == "saved":
        datasets.DatasetDict(rows).save_to_disk(str(root))
    else:
        for name, table in rows.items():
            (root / "data").mkdir(parents=True, exist_ok=True)
            table.to_parquet(str(root / "data" / f"{name}-00000-of-00001.parquet"))
    described, train, test = fetched(root, kind="huggingface")
    assert described.classes == ("cat", "dog", "bird")
    assert same(train, COLOURS[:8], LABELS[:8]) and same(test, COLOURS[8:], LABELS[8:])
    grey = fetched(root, kind="huggingface", channels=1)[1]
    assert grey.pixels.shape == (8, 1, 16, 16)
    with pytest.raises(BadInput, match=r"has the columns picture, label: one of pictures, and a label"):
        fetched(root, kind="huggingface", labels="breed")


def test_hugging_face_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ImportError

    monkeypatch.setattr("pagoda.data.arrays.importlib.import_module", missing)
    with pytest.raises(BadInput, match="needs the package `datasets`: pip install datasets"):
        fetched(tmp_path, kind="huggingface")


def test_arrays_keep_their_place_beside_their_labels(tmp_path):
    flat = np.repeat(np.arange(24, dtype=np.uint8) * 10, 256).reshape(24, 16, 16)
    np.savez(tmp_path / "a.npz", images=flat, labels=np.arange(24) % 2)
    _, train, test = fetched(tmp_path / "a.npz", split=0.25, channels=1)
    for split in (train, test):
        assert torch.equal(split.pixels[:, 0, 0, 0].long() // 10 % 2, split.labels)
