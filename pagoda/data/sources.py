"""Where pictures come from: scikit-learn's digits, torchvision's CIFAR-10, or a folder of images.

Each source takes its root (None where it needs none), the side of a picture in pixels, the seed of the order, and the
storage ("arrays", or "files" where it can keep paths), and returns its pictures as `Pictures`, train and test. Pixel
values are uint8, 0 ... 255.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pagoda.data.classes import DATASETS, folder_classes
from pagoda.data.dataset import Pictures, shuffled
from pagoda.data.decode import centre_square, decode
from pagoda.data.fashion import fashion
from pagoda.errors import BadInput
from pagoda.log import Progress
from pagoda.memory import machine_memory

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def digits(root: None, size: int, seed: int, storage: str) -> dict[str, Pictures]:
    """Return the 1,797 handwritten digits (8 x 8, 17 grey levels) that scikit-learn ships, as [N, 1, size, size].

    They are upsampled bilinearly. A fifth of them, drawn from `seed`, is the test split. No download.
    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    small = torch.from_numpy(raw.images / 16).float().unsqueeze(1)
    large = torch.nn.functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    images = (large * 255).round().to(torch.uint8).numpy()
    every = shuffled(Pictures(images, raw.target.astype(np.int64)), seed, "digits")
    parts = {"test": slice(len(every.labels) // 5), "train": slice(len(every.labels) // 5, None)}
    return {split: Pictures(every.images[part], every.labels[part]) for split, part in parts.items()}


def cifar10(root: Path, size: int, seed: int, storage: str) -> dict[str, Pictures]:
    """Return CIFAR-10 as [N, 3, 32, 32], from what lies under `root`, or downloaded there by torchvision.

    Looks for ``cifar-10-batches-py`` (torchvision's own form), then for an image folder (``train/<class>/*``), then
    downloads. Source: Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".

    Raises:
        BadInput: where there is neither data nor network (says which folders it looked in), or the folder's classes
            are not CIFAR-10's.

    """
    from torchvision.datasets import CIFAR10

    batches, folder, classes = root / "cifar-10-batches-py", root / "train", DATASETS["cifar10"].classes
    if not batches.is_dir() and folder.is_dir():
        if (found := folder_classes(folder)) != classes:
            raise BadInput(f"{folder} has the classes {', '.join(found)}; CIFAR-10 has {', '.join(classes)}")
        return image_folder(root, size, seed, storage="arrays")
    try:
        # Where whole files lie there, torchvision only checks them; torn ones it fetches anew.
        sets = {split: CIFAR10(root, train=split == "train", download=True) for split in ("train", "test")}
    except (OSError, RuntimeError) as error:
        raise BadInput(
            f"no CIFAR-10: looked for whole files in {batches} (torchvision's) and for {folder} (an image folder); "
            f"the download failed ({error}); put either there, e.g. unpack cifar-10-python.tar.gz in {root}"
        ) from None
    return {
        split: Pictures(data.data.transpose(0, 3, 1, 2), np.asarray(data.targets, np.int64))
        for split, data in sets.items()
    }


def image_folder(root: Path, size: int, seed: int, storage: str) -> dict[str, Pictures]:
    """Return the pictures under ``root/train/<class>/`` and ``root/test/<class>/``, in an order drawn from `seed`.

    Args:
        root: the folder.
        size: side of the square, in pixels, that every picture is scaled and cropped to.
        seed: of the order.
        storage: "arrays" decodes every picture now; "files" returns their paths below the root.

    Raises:
        BadInput: where train and test have different classes, a class is empty, a picture is corrupt, or arrays would
            be larger than the machine's memory.

    """
    classes = folder_classes(root / "train")
    if (others := folder_classes(root / "test")) != classes:
        here, there = sorted(set(classes) - set(others)), sorted(set(others) - set(classes))
        raise BadInput(
            f"{root}: train and test have different classes: only in train: {', '.join(here) or 'none'}; "
            f"only in test: {', '.join(there) or 'none'}"
        )
    listed = {split: _listed(root, split, classes, seed) for split in ("train", "test")}
    if storage == "files":
        return listed
    count = sum(len(pictures.labels) for pictures in listed.values())
    if (needed := count * 3 * size * size) > (limit := machine_memory()):
        raise BadInput(
            f"{root}: {count:,} pictures of {size} x {size} pixels take {needed / 1e9:,.1f} GB as arrays, more than "
            f"the {limit / 1e9:,.1f} GB of memory here: set `storage: files`"
        )
    decoded = {}
    for split, pictures in listed.items():
        images = np.empty((len(pictures.labels), 3, size, size), np.uint8)
        progress = Progress(f"decode {root / split}", len(images), "pictures")
        for place, path in enumerate(pictures.images):
            images[place] = decode(root / path.decode(), lambda picture: centre_square(picture, size))
            progress.advance()
        decoded[split] = replace(pictures, images=images)
    return decoded


def _listed(root: Path, split: str, classes: tuple[str, ...], seed: int) -> Pictures:
    paths, labels = [], []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / split / name).rglob("*") if path.suffix.lower() in SUFFIXES)
        if not found:
            raise BadInput(f"class {name!r} is empty: {root / split / name} holds no {', '.join(SUFFIXES)}")
        paths += [path.relative_to(root).as_posix() for path in found]
        labels += [label] * len(found)
    return shuffled(Pictures(np.array([path.encode() for path in paths]), np.array(labels, np.int64)), seed, split)


LOADERS = {"digits": digits, "cifar10": cifar10, "fashion": fashion, "imagefolder": image_folder}
"""By the kinds of `pagoda.data.classes.DATASETS`."""
