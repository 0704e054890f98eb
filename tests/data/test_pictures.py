"""Any picture: each kind that people bring gives the right pixels, or one line says why not."""

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pagoda.data.batches import stream
from pagoda.data.dataset import Split
from pagoda.data.decode import Look, decode
from pagoda.data.examine import twins
from pagoda.data.folder import read_folder
from pagoda.errors import BadInput
from pagoda.options.models import Import
from steps import fetch

RAMP = np.arange(256).reshape(16, 16)
"""Every 8-bit value once."""


def fetched(root: Path, **settings):
    """Fetch what lies at `root`, pictures as arrays and, of an image folder, as files; both must agree."""
    settings = {"kind": "imagefolder", "size": 16} | settings
    out = root.parent / "fetch" / "dataset.json"
    described = fetch.run(fetch.Config(root=str(root), out=out, **settings))
    splits = [Split(out, name) for name in ("train", "test")]
    if settings["kind"] == "imagefolder":
        channels = described.channels
        as_files = {"storage": "files", "mean": (0.5,) * channels, "std": (0.2,) * channels}
        out = out.with_name("files") / "dataset.json"
        others = fetch.run(fetch.Config(root=str(root), out=out, **settings | as_files))
        assert others.notes == described.notes and others.classes == described.classes
        for split in splits:
            other, every = Split(out, "train" if split is splits[0] else "test"), torch.arange(len(split))
            assert torch.equal(other.labels, split.labels) and torch.equal(other.images(every), split.images(every))
            ((x, _),) = stream(other, lambda epoch, places=every: [places], device=torch.device("cpu"), steps=1)
            assert torch.equal(x, other.images(every))
    return described, *splits


def save(picture, path: Path, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture))
    picture.save(path, **settings)
    return path


@pytest.fixture
def root(tmp_path):
    """An image folder of classes a and b, two training pictures and a test picture each, all different."""
    source = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 1)):
        for name in "ab":
            for number in range(count):
                pixels = source.integers(0, 256, (16, 16, 3), np.uint8)
                save(pixels, tmp_path / "pictures" / split / name / f"{number}.png")
    return tmp_path / "pictures"


GREY = Look((16, 16), channels=1)
DEEP = (RAMP * 257).astype(np.uint16)


@pytest.mark.parametrize(
    ("name", "values", "black_white"),
    [
        ("16.png", DEEP, ()),
        ("16.tif", DEEP, ()),
        ("16.pgm", DEEP, ()),
        ("16.jp2", DEEP, ()),
        ("floats.tif", (RAMP / 255).astype(np.float32), (0, 1)),
        ("large.tif", (RAMP * 1000).astype(np.int32), (0, 255_000)),
        ("12 of 16.png", (RAMP * 16).astype(np.uint16), (0, 4080)),
    ],
)
def test_what_is_deeper_than_8_bits_is_scaled_not_cut(tmp_path, name, values, black_white):
    settings = {"irreversible": False} if name.endswith("jp2") else {}
    path = save(values, tmp_path / name, **settings)
    assert (decode(path, Look((16, 16), 1, range=black_white))[0] == RAMP).all()
    assert (decode(path, Look((16, 16), 3, range=black_white)) == RAMP).all()


def test_a_deep_picture_whose_zero_is_white_is_no_negative(tmp_path):
    path = save(DEEP, tmp_path / "x.tif", tiffinfo={262: 0})  # TIFF 6.0, PhotometricInterpretation: WhiteIsZero
    assert (decode(path, GREY)[0] == 255 - RAMP).all()


def test_floats_without_a_range_are_refused_and_it_is_asked_for(tmp_path):
    for values, said in ((RAMP / 255, "floats"), (RAMP, "32-bit numbers")):
        path = save(values.astype(np.float32 if said == "floats" else np.int32), tmp_path / "x.tif")
        with pytest.raises(BadInput, match=rf"x\.tif: it holds {said}; .*`range: \[0, 1\]`"):
            decode(path, GREY)
    path = save(np.full((16, 16), np.nan, np.float32), tmp_path / "x.tif")
    with pytest.raises(BadInput, match="it holds NaN"):
        decode(path, Look((16, 16), 1, range=(0, 1)))


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_stand_as_their_exif_data_say(tmp_path, turn):
    upright = np.zeros((16, 24, 3), np.uint8)
    upright[:8, :12] = 255  # bright at the top left
    stored = {  # EXIF 2.32, tag 0x0112: where row 0 and column 0 are to be seen
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright), 7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[turn]  # fmt: skip
    picture = Image.fromarray(np.ascontiguousarray(stored))
    exif = picture.getexif()
    exif[0x0112] = turn
    path = save(picture, tmp_path / "x.png", exif=exif)
    assert (decode(path, Look((16, 24))) == upright.transpose(2, 0, 1)).all()


def test_transparent_pictures_lie_on_the_background(tmp_path):
    red, clear = (200, 0, 0, 255), (0, 200, 0, 0)  # a hidden green
    rgba = np.full((16, 16, 4), red, np.uint8)
    rgba[:, 8:] = clear
    palette = Image.fromarray((rgba[..., 3] == 0).astype(np.uint8), "L").convert("P")
    palette.putpalette([200, 0, 0, 0, 200, 0])
    grey = np.where(rgba[..., 3], 50, 90).astype(np.uint8)
    made = {
        "rgba.png": (Image.fromarray(rgba), {}, 200),
        "palette.png": (palette, {"transparency": 1}, 200),
        "palette.gif": (palette, {"transparency": 1}, 200),
        "key.png": (Image.fromarray(grey), {"transparency": 90}, 50),
        "deep key.png": (Image.fromarray(grey.astype(np.uint16) * 257), {"transparency": 90 * 257}, 50),
        "la.png": (Image.merge("LA", [Image.fromarray(grey), Image.fromarray(rgba[..., 3])]), {}, 50),
    }
    for name, (picture, settings, opaque) in made.items():
        path = save(picture, tmp_path / name, **settings)
        for background in (0, 0.4, 1):
            found = decode(path, Look((16, 16), background=background))
            assert (found[0, :, :8] == opaque).all() and (found[:, :, 8:] == round(255 * background)).all(), name


def test_pictures_of_one_channel_are_grey(root):
    described, train, _ = fetched(root, channels=1)
    assert described.channels == 1 and len(described.mean) == 1 and train.pixels.shape == (4, 1, 16, 16)
    place = next(
        k for k in range(4) if Split(root.parent / "fetch/files/dataset.json", "train").path(k).parent.name == "b"
    )
    path = Split(root.parent / "fetch/files/dataset.json", "train").path(place)
    red, green, blue = np.asarray(Image.open(path), np.float64).transpose(2, 0, 1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    assert np.abs(train.pixels[place, 0].numpy() - luma).max() <= 1


def test_sides_may_differ_and_fetch_says_how_much_is_cut(root):
    gradient = np.tile(np.linspace(0, 255, 400, dtype=np.uint8), (10, 1))
    wide = save(gradient, root / "test" / "a" / "wide.png")
    described, _, test = fetched(root, size=[16, 24])
    assert described.size == (16, 24) and tuple(test.images([0, 1, 2]).shape) == (3, 3, 16, 24)
    (cut,) = [note for note in described.notes if "area" in note]
    # 10 x 400 covers 16 x 24 when 16 x 640: 24 of 640 columns stay, 96 % go. Squares 16 x 16 become 24 x 24: a third.
    assert "of 7 pictures" in cut and "7 lose more than 25%" in cut and "1 lose more than 50%" in cut
    assert cut.endswith("most: test/a/wide.png, 96%")
    kept = decode(wide, Look((16, 24)))[0]
    assert 120 < kept.min() < 124 and 131 < kept.max() < 135  # the centre, not squeezed


def test_what_systems_leave_behind_is_no_class_and_no_picture(root):
    for place in (".ipynb_checkpoints", "__MACOSX", "a/.ipynb_checkpoints", "a/@eaDir"):
        save(RAMP.astype(np.uint8), root / "train" / place / "x.png")
    (root / "train" / "a" / "._0.png").write_bytes(b"\0\5\26\7")
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "b" / "Thumbs.db").write_bytes(b"x")
    described, train, _ = fetched(root)
    assert described.classes == ("a", "b") and len(train) == 4
    (note,) = [note for note in described.notes if "hidden" in note]
    assert note.startswith("left out 7, hidden") and "train/a/._0.png" in note


def test_what_pillow_can_read_is_read_and_the_rest_is_named(root, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    for number, suffix in enumerate((".gif", ".avif", ".jp2", ".JPEG", ".jfif", ".webp", ".tga", ".sgi")):
        Image.fromarray(pixels + np.uint8(number)).save(root / "train" / "a" / f"{number}x{suffix}")
    (root / "train" / "a" / "notes.txt").write_text("x")
    save(pixels, root.parent / "elsewhere" / "linked.png")
    (root / "train" / "b" / "linked").symlink_to(root.parent / "elsewhere")
    (root / "train" / "b" / "loop").symlink_to(root / "train" / "b")
    monkeypatch.setattr("pagoda.data.names.importlib.util.find_spec", lambda name: None)
    (root / "train" / "b" / "phone.heic").write_bytes(b"x")
    described, train, _ = fetched(root)
    assert len(train) == 4 + 8 + 1
    notes = "\n".join(described.notes)
    assert "left out 1, files .txt, which is no picture's: " in notes and "notes.txt" in notes
    assert "left out 1, files .heic, which need pillow_heif (pip install pillow-heif): " in notes
    assert "left out 1, folders reached twice, by links: " in notes


def test_heic_is_read_where_its_package_is_there(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    heif.register_heif_opener()
    path = save(np.full((16, 16, 3), 90, np.uint8), tmp_path / "x.heic")
    assert np.abs(decode(path, GREY).astype(int) - 90).max() < 4


def test_every_bad_file_is_named_up_to_20(root):
    for number in range(30):
        (root / "train" / "a" / f"bad{number:02d}.png").write_bytes(b"no picture")
    with pytest.raises(BadInput) as caught:
        fetched(root)
    said = str(caught.value)
    assert len(re.findall(r"bad\d\d", said)) == 20 and said.endswith("(30 in all)") and "\n" not in said
    for path in root.glob("train/a/bad*"):
        path.unlink()
    for name in ("train/a/0.png", "test/b/0.png"):  # whole heads, torn pixels
        (root / name).write_bytes((root / name).read_bytes()[:400])
    with pytest.raises(BadInput, match=r"train/a/0\.png: .*; .*test/b/0\.png: "):
        fetched(root)
    save(RAMP.astype(np.uint8), root / "train/a/0.png", exif=b"Exif\0\0II*\0")  # half a head
    with pytest.raises(BadInput, match=r"cannot read the picture .*train/a/0\.png: "):
        fetched(root)


def test_names_that_are_not_utf_8_are_taken_or_refused_in_one_line(root):
    odd = os.fsdecode(b"caf\xe9.png")
    (root / "train" / "a" / "0.png").rename(root / "train" / "a" / odd)
    assert len(fetched(root)[1]) == 4
    (root / "train" / "a" / odd).write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"cannot read the picture .*caf\\xe9\.png: no picture$"):
        fetched(root)
    (root / "train" / "a").rename(root / "train" / os.fsdecode(b"caf\xe9"))
    with pytest.raises(BadInput, match=r"train: the names of these classes are not in UTF-8: caf\\xe9; rename them$"):
        fetched(root)


def test_a_composed_and_a_decomposed_name_are_the_same_class(root):
    for split, form in (("train", "NFC"), ("test", "NFD")):
        (root / split / "a").rename(root / split / unicodedata.normalize(form, "café"))
    assert fetched(root)[0].classes == ("b", "café")
    save(RAMP.astype(np.uint8), root / "train" / unicodedata.normalize("NFD", "café") / "2.png")
    assert len(fetched(root)[1]) == 5


@pytest.mark.parametrize(("train", "test"), [("Train", "val"), ("training", "valid"), ("TRAIN", "Validation")])
def test_splits_have_the_names_that_people_give_them(root, train, test):
    (root / "train").rename(root / train)
    (root / "test").rename(root / test)
    _, found, tested = fetched(root)
    assert (len(found), len(tested)) == (4, 2)


def test_beside_test_pictures_those_for_validation_are_left_out_and_a_test_folder_without_classes_is_none(root):
    save(RAMP.astype(np.uint8), root / "val" / "a" / "x.png")
    described, *_ = fetched(root)
    assert any(note.startswith("left out 1, others beside the folders of the splits: ") for note in described.notes)
    for name in "ab":
        (root / "test" / name / "0.png").rename(root / "test" / f"{name}.png")  # as Kaggle's, without labels
        (root / "test" / name).rmdir()
    save(RAMP.astype(np.uint8), root / "val" / "b" / "x.png")
    assert len(fetched(root)[2]) == 2
    (root / "val").rename(root / "other")
    with pytest.raises(BadInput, match=r"no folder .*test with a folder for each class.*`split: 0\.1` holds a tenth"):
        fetched(root)


@pytest.mark.parametrize("below", ["train", "."])
def test_a_share_is_held_out_of_each_class_by_the_seed(tmp_path, below):
    source = np.random.default_rng(0)
    for name, count in (("a", 20), ("b", 3)):
        for number in range(count):
            save(source.integers(0, 256, (16, 16), np.uint8), tmp_path / "pictures" / below / name / f"{number}.png")
    _, train, test = fetched(tmp_path / "pictures", split=0.1)
    assert np.bincount(train.labels).tolist() == [18, 2] and np.bincount(test.labels).tolist() == [2, 1]
    kept = {image.numpy().tobytes() for split in (train, test) for image in split.pixels}
    assert len(kept) == 23
    again, other = (fetched(tmp_path / "pictures", split=0.1, seed=seed)[2].pixels for seed in (0, 1))
    assert torch.equal(again, test.pixels) and not torch.equal(other, test.pixels)


def test_a_share_beside_a_test_folder_is_refused(root):
    with pytest.raises(BadInput, match=r"split is 0\.1, but .*test holds test pictures"):
        fetched(root, split=0.1)


def test_a_table_says_the_labels_of_a_flat_folder(tmp_path):
    source = np.random.default_rng(0)
    rows = ["id,breed"]
    for number in range(10):
        save(source.integers(0, 256, (16, 16), np.uint8), tmp_path / "pictures" / "all" / f"{number}.png")
        rows.append(f"{number},{'cat' if number % 2 else 'dog'}")  # no suffix, no folder: as Kaggle's
    save(np.zeros((16, 16), np.uint8), tmp_path / "pictures" / "all" / "other.png")
    table = tmp_path / "pictures" / "labels.csv"
    table.write_text("\n".join(rows))
    described, train, test = fetched(tmp_path / "pictures", labels="labels.csv", split=0.2)
    assert described.classes == ("cat", "dog") and (len(train), len(test)) == (8, 2)
    assert "left out 1, pictures that the table does not name: all/other.png" in described.notes
    files = Split(tmp_path / "fetch/files/dataset.json", "train")
    assert all(int(files.path(k).stem) % 2 == (files.labels[k] == 0) for k in range(8))
    with pytest.raises(BadInput, match=r"labels\.csv has no column split or .*: `split: 0\.1` holds"):
        fetched(tmp_path / "pictures", labels="labels.csv")
    split = [f"{row},{'Train' if number < 7 else 'val'}" for number, row in enumerate(rows[1:])]
    table.write_text("\n".join(["id,breed,split", *split]))
    _, train, test = fetched(tmp_path / "pictures", labels="labels.csv")
    assert (len(train), len(test)) == (7, 3)
    table.write_text("\n".join([*rows, "99,cat", "0"]))
    with pytest.raises(BadInput, match=r"line 12, '99 cat', names 0 files, line 13, '0', names"):
        fetched(tmp_path / "pictures", labels="labels.csv", split=0.2)


def test_tables_are_read_as_people_write_them(tmp_path):
    decomposed, picture = unicodedata.normalize("NFD", "é"), np.zeros((16, 16), np.uint8)
    files = [save(picture + k, tmp_path / "pictures" / "all" / f"{decomposed}{k}.png") for k in range(6)]
    table = tmp_path / "pictures" / "labels.csv"
    for head, row in (
        ("\ufeffFile;Breed\r\n", "é{};{}"),
        ("file\tbreed\n", "./all/é{}.png\t{}"),
        (",file,breed\n", "7,all\\é{}.png,{}"),
        ("", "all/é{}.png,{}"),
    ):
        rows = "\n".join(row.format(k, "cat" if k % 2 else "dog") for k in range(6))
        table.write_text(head + rows, encoding="utf-8", newline="")
        found = read_folder(tmp_path / "pictures", "labels.csv", 0.2)
        assert found.classes == ("cat", "dog")
        assert found.files["all"] == [(f"all/{file.name}", 1 - k % 2) for k, file in enumerate(files)]
    table.write_text("all/gone.png,cat\n" + rows)  # no names of columns
    with pytest.raises(BadInput, match=r"line 1, 'all/gone\.png cat', names 0 files"):
        read_folder(tmp_path / "pictures", "labels.csv", 0.2)
    table.write_text("file,cat,dog\n" + "\n".join(f"é{k},{k % 2},{1 - k % 2}" for k in range(6)))
    with pytest.raises(BadInput, match="columns file, cat, dog: call the one that has the classes label"):
        read_folder(tmp_path / "pictures", "labels.csv", 0.2)


def test_a_picture_in_train_and_test_or_under_two_labels_is_warned_of(root):
    (root / "test" / "a" / "1.png").write_bytes((root / "train" / "a" / "1.png").read_bytes())
    (root / "train" / "b" / "copy.png").write_bytes((root / "train" / "a" / "0.png").read_bytes())
    described, *_ = fetched(root)
    notes = "\n".join(described.notes)
    assert "1 pictures stand in train and in test: train/a/1.png = test/a/1.png" in notes
    assert "1 pictures stand under two labels: " in notes
    with pytest.raises(BadInput, match="1 pictures stand in train and in test.*; 1 pictures stand under two labels"):
        fetched(root, strict=True)
    (line,) = twins(("train", k % 2, b"", f"{k}.png") for k in range(1000))  # of a blank page, say
    assert "under two labels: 0.png = 1.png" in line and line.endswith("19.png … (1,000 in all)")


def test_one_class_is_refused(root):
    for split in ("train", "test"):
        for path in (root / split / "b").iterdir():
            path.unlink()
        (root / split / "b").rmdir()
    with pytest.raises(BadInput, match="holds the one class 'a': at least 2 are needed"):
        fetched(root)


def test_home_is_expanded(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    assert fetch.Config(kind="imagefolder", root="~/pictures", size=16, out=Path("x")).root == str(root)
    assert Import(file="~/nets/resnet.pt").file == str(root.with_name("nets") / "resnet.pt")
    assert read_folder(Path(fetch.Config(kind="imagefolder", root="~/pictures", size=16, out=Path("x")).root)).classes
