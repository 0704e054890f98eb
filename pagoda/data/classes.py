"""Class names of a dataset, before anything of it is loaded: the workflow plans its targets with them.

Imports nothing heavy: Snakemake reads it on every call.
"""

import re
from pathlib import Path

from pagoda.errors import BadInput

KNOWN = {
    "digits": tuple("0123456789"),
    "cifar10": (
        *("airplane", "automobile", "bird", "cat", "deer"),
        *("dog", "frog", "horse", "ship", "truck"),
    ),
}
"""Class names of the datasets whose classes are fixed, in the order of their numbers."""
KINDS = (*KNOWN, "imagefolder")


def class_names(kind: str, root: str | None) -> tuple[str, ...]:
    """Return the class names of a dataset in the order of their numbers.

    Args:
        kind: "digits", "cifar10" or "imagefolder".
        root: for an image folder, the folder that holds ``train/<class>/*`` and ``test/<class>/*``.

    Raises:
        BadInput: where an image folder has no folder ``train`` or no class in it.

    """
    if kind in KNOWN:
        return KNOWN[kind]
    return folder_classes(Path(root or "") / "train")


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
