"""Write a minimal experiment for someone's pictures: `make new NAME=pets ROOT=data/pets` writes pets.yaml.

It looks at what lies there (an image folder, with or without test pictures, or with a table of labels; arrays; a
Hugging Face folder) and at some of the pictures. The file is a start, to be edited.
"""

import json
import re
import sys
from os import fsdecode
from pathlib import Path

import numpy as np
from PIL import Image

from pagoda.data import arrays, sources
from pagoda.data.decode import DEEP, opened
from pagoda.errors import BadInput
from pagoda.options import Dataset, dataset_faults

SOME = 200
"""Pictures that are looked at."""
LARGEST = 64
"""Side of pictures, in pixels, that is proposed at most: larger ones take longer."""

RANGES = ((0, 1), (-1, 1), (0, 255), (0, 4095), (0, 65535))
"""Black and white of values that are not 8-bit, as most people have them."""


def kind_of(root: Path) -> str:
    """Return the kind of dataset that lies at `root`."""
    if root.is_file() or [*root.glob("*.npz"), *root.glob("*.npy")]:
        return "arrays"
    if any((root / name).is_file() for name in ("dataset_dict.json", "state.json")) or [*root.rglob("*.parquet")]:
        return "huggingface"
    return "imagefolder"


def readable(kind: str, root: Path) -> tuple[dict, list]:
    """Return the options with which a dataset can be read, and some of its pictures; tried are the plainest first."""
    tables = [path.name for path in (*root.glob("*.csv"), *root.glob("*.tsv"))] if kind == "imagefolder" else []
    first = None
    for found in ({}, {"split": 0.1}, *({"labels": name, **more} for name in tables for more in ({}, {"split": 0.1}))):
        share, labels = found.get("split", 0), found.get("labels")
        try:
            if kind == "imagefolder":
                _, splits = sources.listed_folder(root, sources.Wish(labels=labels, share=share))
                some = [root / fsdecode(name) for name in splits["train"].images[:SOME]]
                return found, some
            pictures, _ = next(iter(arrays.read(kind, root, None, share).splits.values()))
            return found, [pictures[k] for k in range(0, len(pictures), -(-len(pictures) // SOME))]
        except BadInput as fault:
            first = first or fault
    raise first


def looks(pictures: list) -> dict:
    """Return size, channels and range that suit some pictures: files, Pillow's, or arrays."""
    sides, grey, bounds = [], True, []
    for picture in pictures:
        if isinstance(picture, Path):
            with opened(picture) as image:
                _look(image, sides, bounds)
                grey = grey and len(image.getbands()) == 1 and image.mode != "P"
        elif hasattr(picture, "getbands"):
            _look(picture, sides, bounds)
            grey = grey and len(picture.getbands()) == 1 and picture.mode != "P"
        else:
            shape = [side for side in np.shape(picture) if side > 4]
            sides.append(min(shape))
            grey = grey and (np.ndim(picture) == 2 or 1 in np.shape(picture))
            if np.asarray(picture).dtype.name not in ("uint8", *arrays.RANGES):
                bounds += [float(np.min(picture)), float(np.max(picture))]
    size = max(8, min(LARGEST, int(np.median(sides)) // 8 * 8))
    found = {"size": size} | ({"channels": 1} if grey else {})
    if bounds:
        low, high = min(bounds), max(bounds)
        usual = ([b, w] for b, w in RANGES if b <= low and high <= w and high - low > (w - b) / 4)
        found["range"] = next(usual, [low, high])
    return found


def _look(image: Image.Image, sides: list, bounds: list) -> None:
    sides.append(min(image.size))
    if image.mode in DEEP and not image.mode.startswith("I;16"):
        bounds += map(float, image.getextrema())


def main() -> None:
    """Write it."""
    if len(sys.argv) != 3 or not all(sys.argv[1:]):
        sys.exit("make new NAME=pets ROOT=data/pets: a name, and where the pictures are")
    name, given = sys.argv[1:]
    root, file = Path(given).expanduser(), Path(f"{name}.yaml")
    try:
        if not re.fullmatch(r"[a-zA-Z_][\w-]*", name):
            raise BadInput(f"NAME is {name!r}: must be letters, digits, - and _, the first a letter or _")
        if file.exists():
            raise BadInput(f"{file} is there already: take another NAME, or remove it")
        kind = kind_of(root)
        options, pictures = readable(kind, root)
        dataset = {"kind": kind, "root": given} | options | looks(pictures)
        if faults := [line for _, line in dataset_faults(Dataset(**dataset))]:
            raise BadInput("; ".join(faults))
    except BadInput as fault:
        sys.exit(f"error: {fault}")
    small = dataset["size"] < 32
    pictures = ", ".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in dataset.items())
    lines = [
        f"# `snakemake check_{name} --configfile {file}` says what it will do; without check_, it does it. What is not",
        "# said here, config.yaml says under `defaults`; `python -m pagoda.options.check` lists every option.",
        "experiments:",
        f"  {name}:",
        f"    dataset: {{{pictures}}}",
        f"    train: {{epochs: 20, flip: true, shift: {dataset['size'] // 16}}} # no flip where left and right differ",
        f"    ascend: {{epsilon: {[2, 4] if small else [5, 10, 20]}}} # how far pictures may change, L2",
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"wrote {file}; next: snakemake check_{name} --configfile {file}")


if __name__ == "__main__":
    main()
