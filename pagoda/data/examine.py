"""What fetch finds in pictures before they are used: which are broken, how they are cut, which stand twice."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import fsdecode
from pathlib import Path

import numpy as np
import torch

from pagoda.data.dataset import Pictures
from pagoda.data.decode import Look, opened, share_cut
from pagoda.data.names import names, shown
from pagoda.errors import BadInput
from pagoda.log import Progress

END = 4096  # bytes at either end of a file that tell most files apart
TOGETHER = 10_000  # items that wait for a thread, at most: each takes a kilobyte
MUCH = (0.1, 0.25, 0.5)
"""Shares of the area that are told of, where more is cut away."""


def examine(root: Path, splits: dict[str, Pictures], look: Look) -> tuple[list[str], list[str]]:
    """Open every file of image-folder `splits` and read what it says of itself, not its pixels.

    Returns:
        Notes (how many are cut by how much, are enlarged, have further frames) and warnings (which stand twice).

    Raises:
        BadInput: names the files that are no pictures.

    """
    files = [
        (split, label, root / fsdecode(name))
        for split, pictures in splits.items()
        for name, label in zip(pictures.images, pictures.labels.tolist(), strict=True)
    ]
    facts = in_threads(lambda file: _facts(file[2], look), files)
    notes = []
    measured = np.array([sizes for *_, sizes in facts])
    if len({*map(tuple, measured.tolist())}) > 1:
        least, middle, most = ("{} x {}".format(*q) for q in np.quantile(measured, (0, 0.5, 1), axis=0).astype(int))
        notes.append(f"heights x widths are {least} to {most} pixels, with a median of {middle}")
    cut = np.array([share for share, *_ in facts])
    if counts := [f"{count:,} lose more than {much:.0%}" for much in MUCH if (count := int((cut > much).sum()))]:
        most = shown(str(files[int(cut.argmax())][2].relative_to(root)))
        of = f"of the area of {len(cut):,} pictures, to make them {look.text}"
        notes.append(f"{of}: {', '.join(counts)}; most: {most}, {cut.max():.0%}")
    for column, said in (
        (1, f"smaller than {look.text}, and enlarged"),
        (2, "of several frames, of which one is taken"),
    ):
        if count := sum(one[column] for one in facts):
            notes.append(f"{count:,} pictures are {said}")
    like = defaultdict(list)
    for file, (*_, key, _) in zip(files, facts, strict=True):
        like[key].append(file)
    alike = [file for group in like.values() if len(group) > 1 for file in group]
    digests = in_threads(lambda file: hashlib.sha256(file[2].read_bytes()).digest(), alike)
    return notes, twins(
        (split, label, digest, shown(str(path.relative_to(root))))
        for (split, label, path), digest in zip(alike, digests, strict=True)
    )


def _facts(path: Path, look: Look) -> tuple[float, bool, bool, bytes, tuple[int, int]]:
    """Return of a file what is cut away, whether it is enlarged, has frames, what tells it apart, and its sides."""
    with opened(path) as picture:
        width, height = picture.size
        # A PNG file without EXIF data before its pixels would be decoded to look for them behind.
        exif = {} if picture.format == "PNG" and "exif" not in picture.info else picture.getexif()
        if exif.get(0x0112, 1) >= 5:  # to be turned by a quarter
            width, height = height, width
        frames = getattr(picture, "n_frames", 1) > 1 and picture.format != "MPO"  # of a phone's photograph: thumbnails
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        key = hashlib.sha256(b"%d " % size + file.read(END))
        file.seek(max(0, size - END))
        key.update(file.read())
    small = width < look.sides[1] or height < look.sides[0]
    return share_cut(width, height, look), small, frames, key.digest(), (height, width)


def twins(records: Iterable[tuple[str, int, bytes, str]]) -> list[str]:
    """Return a line each for what stands in both splits, and what has two labels.

    Args:
        records: of each picture, its split, its label, the digest of its content, and its name.

    """
    groups = defaultdict(list)
    for split, label, key, name in records:
        groups[key].append((split, label, name))
    lines = []
    for place, said in ((0, "in train and in test"), (1, "under two labels")):
        if found := [group for group in groups.values() if len({entry[place] for entry in group}) > 1]:
            listed = names([names([name for *_, name in group], " = ") for group in found])
            lines.append(f"{len(found):,} pictures stand {said}: {listed}")
    return lines


def array_twins(splits: dict[str, Pictures]) -> list[str]:
    """Return what `twins` does of pictures that are arrays."""
    return twins(
        (split, label, hashlib.sha256(np.ascontiguousarray(image)).digest(), f"{split} #{number}")
        for split, pictures in splits.items()
        for number, (image, label) in enumerate(zip(pictures.images, pictures.labels.tolist(), strict=True))
    )


def in_threads(work: Callable, items: Sequence, progress: Progress | None = None) -> list:
    """Return what `work` makes of each item, in threads. Raises BadInput that names all at which it raised that."""

    def tried(item: object) -> tuple:
        try:
            return work(item), ""
        except BadInput as error:
            return None, str(error)

    results = []
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for first in range(0, len(items), TOGETHER):
            for result in pool.map(tried, items[first : first + TOGETHER]):
                results.append(result)
                if progress:
                    progress.advance()
    if faults := [fault for _, fault in results if fault]:
        raise BadInput(names(faults, "; "))
    return [result for result, _ in results]
