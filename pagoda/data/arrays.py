"""Pictures and labels that lie in arrays: .npz, .npy, or a folder of the Hugging Face library `datasets`."""

import importlib
import os
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pagoda.data.decode import Look, shaped, to_bytes
from pagoda.data.folder import at_least_two, held_out
from pagoda.data.names import SPLITS, composed
from pagoda.errors import BadInput

WORDS = {
    "pictures": ("images", "image", "x", "data", "pictures"),
    "labels": ("labels", "label", "y", "targets", "target"),
}
"""What arrays are called, beside the name of a split: train_images, x_train, test_labels."""
RANGES = {"bool": (0, 1), "uint16": (0, 65535)}
"""Of the types that are scaled by their range, beside uint8: what others hold, their range does not say."""
UNREADABLE = (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises of objects, of damaged files, and of what is no array."""
CLASSES = ("classes", "class_names", "label_names")


@dataclass(frozen=True)
class Arrays:
    """Class names by number, and by split pictures (anything with a length, by number) and labels, int64 [N].

    The one split is "all" where a `share` of each class is yet to be held out.
    """

    classes: tuple[str, ...]
    splits: dict[str, tuple[Sequence, np.ndarray]]
    share: float
    notes: list[str] = field(default_factory=list)

    @property
    def tests(self) -> int:
        """How many test pictures there are."""
        if self.share:
            return sum(held_out(int(count), self.share) for count in np.bincount(self.splits["all"][1]))
        return len(self.splits["test"][1])


def shaped_picture(picture: Any, look: Look) -> np.ndarray:
    """Return a picture, Pillow's or an array [H, W], [H, W, C] or [C, H, W], as uint8 [C, H, W] of a look.

    Raises ValueError where it has no meaning as one.
    """
    if isinstance(picture, Image.Image):
        return shaped(picture, look)
    values = np.asarray(picture)
    if values.ndim == 3 and values.shape[-1] not in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] not in (3, 4)):
        raise ValueError(f"its shape is {np.shape(picture)}: must be [H, W], [H, W, C] or [C, H, W], C 1, 3 or 4")
    if values.dtype != np.uint8:
        if not (black_white := look.range or RANGES.get(values.dtype.name)):
            raise ValueError(f"it holds {values.dtype}; say which values are black and white: `range: [0, 1]`")
        values = to_bytes(values, black_white)
    return shaped(Image.fromarray(values), look)


def read(kind: str, root: Path, labels: str | None, share: float, *, look_in: bool = True) -> Arrays:
    """Return the pictures and labels that lie at `root`.

    Args:
        kind: "arrays": an .npz file, or .npy files in a folder, whose names say what is what (train_images, x_train,
            test_labels …; images and labels alone where a share is held out). "huggingface": a folder that `datasets`
            wrote (save_to_disk) or reads (Parquet files, …); nothing is downloaded, and no code in it is run.
        root: where.
        labels: huggingface: the column that has them; None: the one of class labels, or "label".
        share: of each class, to be held out.
        look_in: read the pictures, too; else they may be left out.

    Raises:
        BadInput: where a split, pictures or labels are missing, or do not fit each other; where `datasets` is not
            installed, or does not read it.

    """
    return _read_arrays(root, share, look_in) if kind == "arrays" else _read_huggingface(root, labels, share)


def _called(there: Iterable[str | None], share: float, root: Path) -> dict[str, str | None]:
    """Return by split what it is called; with a share to hold out, "all" is that of train, or of none."""
    train, test = (next((word for word in given if word in there), None) for given in SPLITS.values())
    if share and test:
        raise BadInput(f"split is {share:g}, but {root} has a split called {test}: leave split out")
    return {"all": train} if share else {"train": train, "test": test}


def _read_arrays(root: Path, share: float, look_in: bool) -> Arrays:
    known = _arrays(root)
    called = _called({_split_of(name) for name in known if _what(name)}, share, root)
    if not share and None in called.values():
        raise BadInput(
            f"{root} holds {', '.join(known)}: train_images, train_labels, test_images and test_labels are wanted (or "
            "x_train, y_train …); `split: 0.1` holds a tenth of images and labels out for testing"
        )
    names = {split: _named(known, split, word, root) for split, word in called.items()}
    labels = {split: _labels(known[found["labels"]], root, found["labels"]) for split, found in names.items()}
    classes, numbers = _numbered(labels, root, next((known[name] for name in CLASSES if name in known), None))
    used = {name for found in names.values() for name in found.values()} | set(CLASSES)
    others = [name for name in known if name not in used]
    notes = [f"left out {len(others)}, arrays of another name: {', '.join(others)}"] if others else []
    splits = {}
    for split, found in names.items():
        pictures = np.atleast_1d(known[found["pictures"]]) if look_in else labels[split]
        if len(pictures) != len(labels[split]):
            raise BadInput(
                f"{root}: {found['pictures']} has {len(pictures)} entries, {found['labels']} {len(labels[split])}"
            )
        splits[split] = (pictures, numbers[split])
    return Arrays(classes, splits, share, notes)


class _Members(dict):
    """Arrays by name, read when asked for: those of a file .npz, or files .npy."""

    def __getitem__(self, name: str) -> np.ndarray:
        place, member = super().__getitem__(name)
        try:
            if member is None:
                return np.load(place, mmap_mode="r")
            with np.load(place) as file:
                return file[member]
        except UNREADABLE as error:
            raise BadInput(f"cannot read {name} of {place}: {error}") from None


def _arrays(root: Path) -> _Members:
    try:
        if root.is_dir():
            found = {path.stem: (path, None) for path in sorted(root.glob("*.npy")) if not path.name.startswith(".")}
            archives = [path for path in sorted(root.glob("*.npz")) if not path.name.startswith(".")]
            if not found and len(archives) == 1:
                return _arrays(archives[0])
        else:
            with root.open("rb") as raw:
                file = np.load(raw)
                if isinstance(file, np.ndarray):
                    raise ValueError("it is one array; an .npz, or a folder of .npy, has pictures and labels")
                found = {name: (root, name) for name in file.files}
    except UNREADABLE as error:
        raise BadInput(f"cannot read the arrays of {root}: {error}") from None
    if not found:
        raise BadInput(
            f"{root} holds no .npy, nor one .npz: pictures and labels are wanted, e.g. train_images, train_labels"
        )
    return _Members(found)


def _split_of(name: str) -> str | None:
    words = re.split(r"[_\W]+", name.lower())
    return next((word for given in SPLITS.values() for word in given if word in words), None)


def _what(name: str) -> str | None:
    words = re.split(r"[_\W]+", name.lower())
    return next((what for what, given in WORDS.items() if name not in CLASSES and any(w in words for w in given)), None)


def _named(known: dict, split: str, word: str | None, root: Path) -> dict[str, str]:
    found = {
        what: next((name for name in known if _what(name) == what and _split_of(name) == word), None) for what in WORDS
    }
    if missing := [what for what, name in found.items() if name is None]:
        raise BadInput(f"{root} holds {', '.join(known)}: no {' and no '.join(missing)} of {split}")
    return found


def _labels(values: np.ndarray, root: Path, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "iubUS":
        raise BadInput(
            f"{root}: {name} is {values.dtype} of shape {list(values.shape)}: must be a number or a name each, [N]"
        )
    return np.char.decode(values) if values.dtype.kind == "S" else values


def _numbered(
    labels: dict[str, np.ndarray], root: Path, given: np.ndarray | None
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Return class names, and labels as their numbers."""
    values = {split: set(np.unique(found).tolist()) for split, found in labels.items()}
    first, *others = values.values()
    if any(other != first for other in others):
        odd = sorted(map(str, set.union(*values.values()) - set.intersection(*values.values())))
        raise BadInput(f"{root}: train and test have different classes: in one alone are {', '.join(odd[:20])}")
    order = sorted(first)
    if given is not None and all(isinstance(value, int) and 0 <= value < len(given) for value in order):
        names = tuple(composed(str(given[value])) for value in order)
    else:
        names = tuple(composed(str(value)) for value in order)
    if twice := sorted(name for name, count in Counter(names).items() if count > 1):
        raise BadInput(f"{root}: several classes are called {', '.join(twice)}")
    numbers = {split: np.searchsorted(order, found).astype(np.int64) for split, found in labels.items()}
    return at_least_two(names, root), numbers


class _Column:
    """The pictures of a Hugging Face split, read one by one."""

    def __init__(self, rows: Any, column: str):
        self.rows, self.column = rows, column

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Any:
        return self.rows[place][self.column]


def _read_huggingface(root: Path, column: str | None, share: float) -> Arrays:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise BadInput("kind huggingface needs the package `datasets`: pip install datasets") from None
    datasets.disable_progress_bars()
    saved = any((root / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        found = datasets.load_from_disk(str(root)) if saved else datasets.load_dataset(str(root))
    except Exception as error:  # whatever it raises
        raise BadInput(f"`datasets` cannot read {root}: {' '.join(str(error).split())[:300]}") from None
    tables = {name.lower(): rows for name, rows in (found if isinstance(found, dict) else {"train": found}).items()}
    called = _called(tables, share, root)
    if None in called.values():
        raise BadInput(
            f"{root} has the splits {', '.join(tables)}: train and test are wanted; `split: 0.1` makes a test split"
        )
    chosen = {split: tables[word] for split, word in called.items()}
    features = chosen["all" if share else "train"].features
    pictures = [name for name, kind in features.items() if type(kind).__name__ == "Image"]
    known = [name for name, kind in features.items() if type(kind).__name__ == "ClassLabel"]
    labels = column or ("label" if "label" in features else known[0] if len(known) == 1 else None)
    if len(pictures) != 1 or labels not in features:
        raise BadInput(f"{root} has the columns {', '.join(features)}: one of pictures, and a label (`labels: COLUMN`)")
    given = getattr(features[labels], "names", None)
    values = {split: _labels(np.asarray(rows[labels]), root, labels) for split, rows in chosen.items()}
    classes, numbers = _numbered(values, root, None if given is None else np.array(given))
    splits = {split: (_Column(rows, pictures[0]), numbers[split]) for split, rows in chosen.items()}
    return Arrays(classes, splits, share)
