"""What the names of files and folders say: a split, a class, a picture, or something that is left out; and in text.

Nothing heavy is imported: plans are made with it.
"""

import importlib.util
import os
import unicodedata
from functools import cache
from pathlib import Path

from pagoda.errors import BadInput

SPLITS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
"""What folders of a split are called, in any case; the first that holds classes is taken."""
LEFT_ALONE = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "lost+found", "$recycle.bin")
"""What systems leave in folders, beside names that begin with a dot."""
NEEDS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".qoi"), ""),
    **dict.fromkeys((".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".pcx", ".ico", ".icns", ".psd", ".sgi"), ""),
    ".dds": "",
    **dict.fromkeys((".tif", ".tiff"), "libtiff"),
    ".webp": "webp",
    **dict.fromkeys((".avif", ".avifs"), "avif"),
    **dict.fromkeys((".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"), "jpg_2000"),
    **dict.fromkeys((".heic", ".heif", ".hif"), "pillow_heif"),
}
"""By the suffix of a picture: the part of Pillow (or the package) that reads it."""
NAMED = 20
"""Names in one line, at most."""


def classes_below(place: Path, left_out: dict[str, list[str]] | None = None) -> dict[str, list[Path]]:
    """Return the folders of each class in the folder of a split, by the class's name, sorted."""
    found: dict[str, list[Path]] = {}
    for entry in os.scandir(place):
        if ignored(entry.name):
            _leave(left_out, "hidden files and folders", entry.path)
        elif entry.is_dir():
            found.setdefault(composed(entry.name), []).append(Path(entry.path))
        else:
            _leave(left_out, "files outside a class's folder", entry.path)
    if odd := [shown(name) for name in found if shown(name) != name]:
        raise BadInput(f"{place}: the names of these classes are not in UTF-8: {names(odd)}; rename them")
    return {name: sorted(found[name]) for name in sorted(found)}


def pictures_below(root: Path, folder: Path, left_out: dict[str, list[str]] | None = None) -> list[str]:
    """Return the pictures in a class's folder and the folders in it, links followed: paths below the root, sorted."""
    found, seen = [], set()

    def refuse(error: OSError) -> None:
        raise BadInput(f"cannot read the folder {shown(str(error.filename))}: {error.strerror}")

    for place, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            _leave(left_out, "folders reached twice, by links", place)
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in [name for name in (*folders, *files) if ignored(name)]:
            _leave(left_out, "hidden files and folders", os.path.join(place, name))  # noqa: PTH118 - may be many
        folders[:] = [name for name in folders if not ignored(name)]
        for name in files:
            if not ignored(name):
                path = os.path.join(place, name)  # noqa: PTH118
                if fault := unread(name):
                    _leave(left_out, fault, path)
                else:
                    found.append(os.path.relpath(path, root))
    return sorted(found)


def ignored(name: str) -> bool:
    """Tell whether a name is that of something that systems and editors leave behind."""
    return name.startswith(".") or name.lower() in LEFT_ALONE


@cache
def _unread(suffix: str) -> str:
    if suffix not in NEEDS:
        return f"files {suffix or 'without a suffix'}, which is no picture's"
    needed = NEEDS[suffix]
    if needed in ("", "pillow_heif"):
        lacks = needed and importlib.util.find_spec(needed) is None
    else:
        from PIL import features  # late: most folders hold none such

        lacks = not features.check(needed)
    return f"files {suffix}, which need {needed} (pip install {needed.replace('_', '-')})" if lacks else ""


def unread(name: str) -> str:
    """Return why a file of that name is not read, in the plural; "" where it is."""
    return _unread(os.path.splitext(name)[1].lower())  # noqa: PTH122 - a million of them


def composed(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS has é as two characters, Linux as one or two."""
    return unicodedata.normalize("NFC", name)


def shown(name: str) -> str:
    """Return a file's name as a line of text can hold it: bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def names(found: list[str], joint: str = ", ") -> str:
    """Return names as one line has them: the first NAMED, and how many there are."""
    rest = f" … ({len(found):,} in all)" if len(found) > NAMED else ""
    return joint.join(found[:NAMED]) + rest


def _leave(left_out: dict[str, list[str]] | None, why: str, path: str) -> None:
    if left_out is not None:
        left_out.setdefault(why, []).append(shown(path))
