"""The datasets that there are, and what is known of each before anything of it is loaded: plans are made with that.

A new dataset is an entry here, and its loader in `pagoda.data.sources`. Imports nothing heavy: Snakemake reads it on
every call.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pagoda.errors import BadInput


@dataclass(frozen=True)
class Known:
    """What is known of a kind of dataset.

    `classes` are the names by number; none: those of the folders below its root. `size` is the side of its pictures in
    pixels; 0: any. `test`: how many test pictures it has; 0: unknown. `root`: whether it needs a folder. `published`
    names it in the table of published certified accuracies; "": there are none.
    """

    channels: int
    classes: tuple[str, ...] = ()
    size: int = 0
    test: int = 0
    root: bool = True
    published: str = ""


DATASETS = {
    "digits": Known(channels=1, classes=tuple("0123456789"), test=359, root=False),
    "cifar10": Known(
        channels=3,
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        size=32,
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
        test=10_000,
    ),
    "imagefolder": Known(channels=3),
}
"""By kind."""


PUBLISHED = {"cifar10": (32, 10), "imagenet": (224, 1000)}
"""Data sets of which certified accuracies were published: the side of their pictures in pixels, and their classes."""


def class_names(kind: str, root: str | Path | None) -> tuple[str, ...]:
    """Return the class names of a dataset in the order of their numbers.

    Args:
        kind: one of DATASETS.
        root: for an image folder, the folder that holds ``train/<class>/*`` and ``test/<class>/*``.

    Raises:
        BadInput: where an image folder has no folder ``train`` or no class in it.

    """
    return DATASETS[kind].classes or folder_classes(Path(root or "") / "train")


def folder_classes(folder: Path) -> tuple[str, ...]:
    """Return the names of `folder`'s subfolders, sorted; each is a class. Raises BadInput where there is none."""
    if not folder.is_dir():
        raise BadInput(f"no folder {folder}: an image folder holds train/<class>/* and test/<class>/* under its root")
    names = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir()))
    if not names:
        raise BadInput(f"{folder} holds no class: one subfolder a class is expected")
    return names


def class_in_path(name: str) -> str:
    """Return a class's name as paths hold it: what Snakemake or the file system reads otherwise stands as %XX.

    That is / { } < > % and control characters; urllib.parse.unquote takes it back.
    """
    return re.sub(r"[/{}<>%\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", name)
