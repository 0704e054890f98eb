"""The datasets that there are, and what is known of each before anything of it is loaded: plans are made with that.

A new dataset is an entry here, and its loader in `pagoda.data.sources`. Imports nothing heavy: Snakemake reads it on
every call.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pagoda.data import folder


@dataclass(frozen=True)
class Known:
    """What is known of a kind of dataset.

    `channels` are those of its pictures, and `own` says that they are a user's, who may wish for others. `classes` are
    the names by number; none: those found below its root. `size` is the side of its pictures in pixels; 0: any. `train`
    and `test`: how many pictures it has; 0: unknown. `root`: whether it needs a folder. `published` names it in the
    table of published certified accuracies; "": there are none.
    """

    channels: int
    classes: tuple[str, ...] = ()
    size: int = 0
    train: int = 0
    test: int = 0
    root: bool = True
    own: bool = False
    published: str = ""


DATASETS = {
    "digits": Known(channels=1, classes=tuple("0123456789"), train=1438, test=359, root=False),
    "cifar10": Known(
        channels=3,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        size=32,
        train=50_000,
        test=10_000,
        published="cifar10",
    ),
    "fashion": Known(
        channels=1,
        classes=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        size=28,
        train=60_000,
        test=10_000,
    ),
    "imagefolder": Known(channels=3, own=True),
    "arrays": Known(channels=3, own=True),
    "huggingface": Known(channels=3, own=True),
}
"""By kind."""


PUBLISHED = {"cifar10": (32, 10), "imagenet": (224, 1000)}
"""Data sets of which certified accuracies were published: the side of their pictures in pixels, and their classes."""


def class_names(kind: str, root: str | Path | None, labels: str | None = None, share: float = 0) -> tuple[str, ...]:
    """Return the class names of a dataset in the order of their numbers.

    Args:
        kind: one of DATASETS.
        root: where a user's own pictures lie.
        labels: a table of labels, or the column that has them.
        share: of each class, to be held out for testing.

    Raises:
        BadInput: where they lie otherwise than the kind needs.

    """
    if known := DATASETS[kind].classes:
        return known
    if kind == "imagefolder":
        return folder.folder_classes(Path(root or ""), labels, share)
    return _arrays(kind, root, labels, share).classes


def count_tests(kind: str, root: str | Path | None, labels: str | None, share: float, enough: int) -> int:
    """Return how many test pictures a dataset has, or, where they are more, perhaps a number above `enough`.

    Takes and raises what `class_names` does.
    """
    if known := DATASETS[kind].test:
        return known
    if kind == "imagefolder":
        return folder.count_tests(Path(root or ""), labels, share, enough)
    return _arrays(kind, root, labels, share).tests


def _arrays(kind: str, root: str | Path | None, labels: str | None, share: float):
    from pagoda.data import arrays  # late: it imports NumPy

    return arrays.read(kind, Path(root or ""), labels, share, look_in=False)


def class_in_path(name: str) -> str:
    """Return a class's name as paths hold it: what Snakemake or the file system reads otherwise stands as %XX.

    That is / { } < > % and control characters; urllib.parse.unquote takes it back.
    """
    return re.sub(r"[/{}<>%\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", name)
