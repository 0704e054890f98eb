"""A folder of pictures, read without opening one: which file is of which class and split, and what is left out.

``train/<class>/*`` and ``test/<class>/*``, or ``<class>/*`` with a share to be held out, or files with a table of
labels. Plans are made with it: nothing heavy is imported.
"""

import csv
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from pagoda.data.names import (
    SPLITS,
    classes_below,
    composed,
    ignored,
    names,
    pictures_below,
    shown,
    unread,
)
from pagoda.errors import BadInput

COLUMNS = {
    "file": ("file", "filename", "file_name", "path", "image", "image_id", "id"),
    "label": ("label", "class", "category", "target"),
    "split": ("split", "set", "subset"),
}
"""What the columns of a table of labels are called, in any case; without, file and label are the first two."""


@dataclass(frozen=True)
class Folder:
    """What a folder of pictures holds.

    `classes` are the names by number, in Unicode's composed form (NFC). `files` has by split (path below the root,
    class number), class by class; the one split "all" where a share is yet to be held out. `left_out` has by reason
    the names of what is not among them.
    """

    classes: tuple[str, ...]
    files: dict[str, list[tuple[str, int]]]
    left_out: dict[str, list[str]] = field(default_factory=dict)


def read_folder(root: Path, labels: str | None = None, share: float = 0) -> Folder:
    """Return what the folder `root` holds.

    Args:
        root: the folder.
        labels: a table (.csv, .tsv) below it: a file, its class and perhaps its split a row; None: folders tell.
        share: of each class's pictures, to be held out for testing; 0: there are test pictures.

    Raises:
        BadInput: where a split is missing, train and test have different classes, there are fewer than 2, one is
            empty, a name is not in UTF-8, or a table names what is not there.

    """
    left_out: dict[str, list[str]] = {}
    if labels:
        return _filled(_by_table(root, labels, share, left_out), root, share)
    places = split_folders(root, share)
    known = {split: classes_below(place, left_out) for split, place in places.items()}
    classes = _agreed(known, root)
    files = {
        split: [
            (path, number)
            for number, name in enumerate(classes)
            for folder in of_split[name]
            for path in pictures_below(root, folder, left_out)
        ]
        for split, of_split in known.items()
    }
    if root not in places.values():
        used = {place.name for place in places.values()}
        others = sorted(entry.path for entry in os.scandir(root) if entry.name not in used and not ignored(entry.name))
        left_out |= {"others beside the folders of the splits": list(map(shown, others))} if others else {}
    return _filled(Folder(classes, files, left_out), root, share)


def folder_classes(root: Path, labels: str | None = None, share: float = 0) -> tuple[str, ...]:
    """Return the class names of a folder of pictures in the order of their numbers, without a look at the pictures.

    Takes and raises what `read_folder` does.
    """
    if labels:
        return read_folder(root, labels, share).classes
    return _agreed({split: classes_below(place) for split, place in split_folders(root, share).items()}, root)


def count_tests(root: Path, labels: str | None, share: float, enough: int) -> int:
    """Return how many test pictures a folder has, or, where they are more, a number above `enough`.

    Takes and raises what `read_folder` does.
    """
    if share:
        files = read_folder(root, labels, share).files["all"]
        return sum(held_out(count, share) for count in Counter(number for _, number in files).values())
    if labels:
        return len(read_folder(root, labels).files["test"])
    count = 0
    for folder in chain.from_iterable(classes_below(split_folders(root, share)["test"]).values()):
        count += len(pictures_below(root, folder))
        if count > enough:
            break
    return count


def held_out(count: int, share: float) -> int:
    """Return how many of a class's `count` pictures a share of them is: at least one, and not all."""
    return min(count - 1, max(1, round(count * share)))


def split_folders(root: Path, share: float) -> dict[str, Path]:
    """Return the folders of train and test below `root`; with a share to hold out, that of "all" pictures."""
    if not root.is_dir():
        raise BadInput(f"no folder {root}: an image folder holds train/<class>/* and test/<class>/*")
    found = {}
    for split, called in SPLITS.items():
        places = sorted(place for place in root.iterdir() if place.name.lower() in called and place.is_dir())
        places = [p for p in sorted(places, key=lambda p: called.index(p.name.lower())) if classes_below(p)]
        if len(places) > 1 and places[0].name.lower() == places[1].name.lower():
            raise BadInput(f"{root} holds {places[0].name} and {places[1].name}: which is meant? Rename one")
        if places:
            found[split] = places[0]
    if share:
        if "test" in found:
            raise BadInput(
                f"split is {share:g}, but {found['test']} holds test pictures: leave split out, or move them"
            )
        return {"all": found.get("train", root)}
    if len(found) < 2:
        missing = "train" if "train" not in found else "test"
        inside = names(sorted(shown(entry.name) for entry in root.iterdir() if not ignored(entry.name))) or "nothing"
        raise BadInput(
            f"no folder {root / missing} with a folder for each class in it (it may be called "
            f"{', '.join(SPLITS[missing])}); {root} holds {inside}. An image folder holds train/<class>/* and "
            "test/<class>/*; `split: 0.1` holds a tenth of train/<class>/* or <class>/* out for testing, "
            "`labels: FILE.csv` takes a table (file, label)"
        )
    return found


def _agreed(known: dict[str, dict[str, list[Path]]], root: Path) -> tuple[str, ...]:
    """Return the classes that the splits share, two at least."""
    splits = {split: tuple(classes) for split, classes in known.items()}
    first = next(iter(splits.values()))
    if any(classes != first for classes in splits.values()):
        here, there = (sorted(set(splits[a]) - set(splits[b])) for a, b in (("train", "test"), ("test", "train")))
        raise BadInput(
            f"{root}: train and test have different classes: only in train: {names(here) or 'none'}; "
            f"only in test: {names(there) or 'none'}"
        )
    return at_least_two(first, root)


def at_least_two(classes: tuple[str, ...], root: Path) -> tuple[str, ...]:
    """Return `classes`. Raises BadInput where there are fewer than two."""
    if len(classes) < 2:
        raise BadInput(
            f"{root} holds {f'the one class {classes[0]!r}' if classes else 'no class'}: at least 2 are needed"
        )
    return classes


def _filled(found: Folder, root: Path, share: float) -> Folder:
    """Return `found`. Raises BadInput where a class has no picture, or too few to hold one out."""
    least = 2 if share else 1
    lacking = [
        f"class {name!r} has 1 picture: to hold a share out takes 2"
        if count
        else f"class {name!r} is empty: no picture of it{'' if split == 'all' else f' in {split}'}"
        for split, files in found.files.items()
        for counts in [Counter(number for _, number in files)]
        for number, name in enumerate(found.classes)
        if (count := counts[number]) < least
    ]
    if lacking:
        left = "".join(f"; left out: {why} ({len(what)})" for why, what in found.left_out.items())
        raise BadInput(f"{root}: {names(lacking, '; ')}{left}")
    return found


def _by_table(root: Path, labels: str, share: float, left_out: dict[str, list[str]]) -> Folder:
    """Return what a table of labels names: a file, its label and perhaps its split a row, under any of COLUMNS."""
    path = root / labels
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = max(",;\t", key=file.readline().count)  # spreadsheets write ; where a comma is decimal
            file.seek(0)
            rows = [row for row in csv.reader(file, delimiter=delimiter) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"cannot read the table of labels {path}: {error}") from None
    known = pictures_below(root, root, left_out)
    files = _by_any_name(known)
    plain = not rows or _named(files, rows[0][0]) or not all(map(unread, rows[0]))  # without names of columns
    heads = [] if plain else [cell.strip().lower() for cell in rows[0]]
    place = {what: next((heads.index(n) for n in given if n in heads), None) for what, given in COLUMNS.items()}
    place["file"] = place["file"] or 0
    if place["label"] is None:
        others = [k for k, head in enumerate(heads) if head and k not in (place["file"], place["split"])] or [1]
        if len(others) > 1:
            raise BadInput(f"{path} has the columns {', '.join(heads)}: call the one that has the classes label")
        (place["label"],) = others
    if bool(share) == (place["split"] is not None):
        raise BadInput(
            f"{path} has {'a' if share else 'no'} column {' or '.join(COLUMNS['split'])}: "
            + ("leave split out" if share else "`split: 0.1` holds a tenth of the pictures out for testing")
        )
    entries, wrong = [], []
    for number, row in enumerate(rows[bool(heads) :], 1 + bool(heads)):
        cells = {what: row[k].strip() if k < len(row) else "" for what, k in place.items() if k is not None}
        named = _named(files, cells["file"])
        if len(named) == 1 and all(cells.values()):
            entries.append((named[0], composed(cells["label"]), cells.get("split", "all").lower()))
        else:
            wrong.append(f"line {number}, {' '.join(row)!r}, names {len(named)} files")
    if wrong:
        raise BadInput(f"{path}: {names(wrong)}; a row is a file below {root} (its suffix may be left out) and a label")
    classes = at_least_two(tuple(sorted({label for _, label, _ in entries})), path)
    there = {split for *_, split in entries}
    chosen = {split: next((name for name in given if name in there), split) for split, given in SPLITS.items()}
    numbers = {name: number for number, name in enumerate(classes)}
    splits = {
        split: sorted((file, numbers[label]) for file, label, of in entries if of == name)
        for split, name in (chosen.items() if not share else [("all", "all")])
    }
    if unnamed := sorted(set(known) - {file for file, *_ in entries}):
        left_out["pictures that the table does not name"] = list(map(shown, unnamed))
    if not share and (others := [shown(file) for file, _, split in entries if split not in chosen.values()]):
        left_out["pictures of another split"] = others
    return Folder(classes, splits, left_out)


def _by_any_name(paths: list[str]) -> dict[str, list[str]]:
    """Return files by what a table may call them: path or bare name, with or without suffix; a whole path first."""
    found: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    for path in paths:
        stem, name = (os.path.splitext(path)[0], os.path.basename(path))  # noqa: PTH119, PTH122
        for called in {stem, name, os.path.splitext(name)[0]}:  # noqa: PTH122
            found.setdefault(composed(called), []).append(path)
        whole.setdefault(composed(path), []).append(path)
    return found | whole | {path: [path] for path in paths}


def _named(files: dict[str, list[str]], called: str) -> list[str]:
    """Return the files that a cell names: as it stands, else composed, without ./ and with / for Windows' \\."""
    return files.get(called) or files.get(composed(os.path.normpath(called.replace("\\", "/"))), [])
