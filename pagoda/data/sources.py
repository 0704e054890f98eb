"""Where pictures come from: scikit-learn's digits, torchvision's CIFAR-10, Fashion-MNIST, folders, arrays.

Each source takes its root (None where it needs none), what becomes of a picture, and what else a user may `Wish`, and
returns what it `Holds`: pictures, train and test, with pixel values that are uint8, 0 ... 255.
"""

from dataclasses import dataclass, field, replace
from functools import partial
from os import fsdecode, fsencode
from pathlib import Path

import numpy as np
import torch

from pagoda.data import arrays
from pagoda.data.classes import DATASETS
from pagoda.data.dataset import Pictures, shuffled
from pagoda.data.decode import Look, decode
from pagoda.data.examine import array_twins, examine, in_threads
from pagoda.data.fashion import fashion
from pagoda.data.folder import Folder, folder_classes, held_out, read_folder
from pagoda.data.names import names
from pagoda.errors import BadInput
from pagoda.log import Progress
from pagoda.maths.randomness import generator
from pagoda.memory import machine_memory


@dataclass(frozen=True)
class Wish:
    """What a user may wish of a source: the `seed` of the order, the `storage` ("arrays", or "files" where a source
    can keep paths), a table (or column) of `labels`, and the `share` of each class that is held out for testing.
    """

    seed: int = 0
    storage: str = "arrays"
    labels: str | None = None
    share: float = 0


@dataclass(frozen=True)
class Holds:
    """What a source holds: class names by number, pictures by split, what is to be said of them, and warned of."""

    classes: tuple[str, ...]
    splits: dict[str, Pictures]
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def ordered(splits: dict[str, Pictures], wish: Wish) -> dict[str, Pictures]:
    """Return train and test in an order drawn from the seed: as they are, or a share of each class of "all" as test."""
    if wish.share:
        every = splits["all"]
        test = np.zeros(len(every.labels), bool)
        drawn = torch.randperm(len(test), generator=generator("cpu", wish.seed, "held out")).numpy()
        for number in np.unique(every.labels):
            places = drawn[every.labels[drawn] == number]
            test[places[: held_out(len(places), wish.share)]] = True
        parts = (("train", ~test), ("test", test))
        splits = {split: Pictures(every.images[part], every.labels[part]) for split, part in parts}
    return {split: shuffled(pictures, wish.seed, split) for split, pictures in splits.items()}


def digits(root: None, look: Look, wish: Wish) -> Holds:
    """Return the 1,797 handwritten digits (8 x 8, 17 grey levels) that scikit-learn ships, as [N, 1, H, W].

    They are upsampled bilinearly. A fifth of them, drawn from the seed, is the test split. No download.
    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI.
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    small = torch.from_numpy(raw.images / 16).float().unsqueeze(1)
    large = torch.nn.functional.interpolate(small, size=look.sides, mode="bilinear", align_corners=False)
    images = (large * 255).round().to(torch.uint8).numpy()
    every = shuffled(Pictures(images, raw.target.astype(np.int64)), wish.seed, "digits")
    parts = {"test": slice(len(every.labels) // 5), "train": slice(len(every.labels) // 5, None)}
    splits = {split: Pictures(every.images[part], every.labels[part]) for split, part in parts.items()}
    return Holds(DATASETS["digits"].classes, splits)


def cifar10(root: Path, look: Look, wish: Wish) -> Holds:
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
        if (found := folder_classes(root)) != classes:
            raise BadInput(f"{folder} has the classes {', '.join(found)}; CIFAR-10 has {', '.join(classes)}")
        return image_folder(root, look, Wish(wish.seed))
    try:
        # Where whole files lie there, torchvision only checks them; torn ones it fetches anew.
        sets = {split: CIFAR10(root, train=split == "train", download=True) for split in ("train", "test")}
    except (OSError, RuntimeError) as error:
        raise BadInput(
            f"no CIFAR-10: looked for whole files in {batches} (torchvision's) and for {folder} (an image folder); "
            f"the download failed ({error}); put either there, e.g. unpack cifar-10-python.tar.gz in {root}"
        ) from None
    splits = {
        split: Pictures(data.data.transpose(0, 3, 1, 2), np.asarray(data.targets, np.int64))
        for split, data in sets.items()
    }
    return Holds(classes, splits)


def image_folder(root: Path, look: Look, wish: Wish) -> Holds:
    """Return the pictures of a folder (see `pagoda.data.folder`), in an order drawn from the seed.

    Args:
        root: the folder.
        look: what becomes of a picture.
        wish: of it, `storage`: "arrays" decodes every picture now; "files" keeps their paths below the root.

    Raises:
        BadInput: as `read_folder` does, where pictures are corrupt (names the first 20), or where arrays would be
            larger than the machine's memory.

    """
    found, listed = listed_folder(root, wish)
    if wish.storage != "files":
        check_memory(sum(len(pictures.labels) for pictures in listed.values()), look, root, "set `storage: files`")
    notes, warnings = examine(root, listed, look)
    notes = [*left_out(found), *notes]
    if wish.storage == "files":
        return Holds(found.classes, listed, notes, warnings)
    return Holds(found.classes, _decoded(root, listed, look), notes, warnings)


def listed_folder(root: Path, wish: Wish) -> tuple[Folder, dict[str, Pictures]]:
    """Return what a folder holds, and its files in order, none opened. Raises BadInput as `read_folder` does."""
    found = read_folder(root, wish.labels, wish.share)
    return found, ordered({split: _listed(files) for split, files in found.files.items()}, wish)


def left_out(found: Folder) -> list[str]:
    """Return a line for each reason why files of a folder are left out: how many, and the first names."""
    return [f"left out {len(what):,}, {why}: {names(what)}" for why, what in found.left_out.items()]


def check_memory(count: int, look: Look, root: Path, advice: str) -> None:
    """Raise BadInput where `count` pictures would be larger as arrays than the machine's memory."""
    needed, limit = count * look.channels * look.sides[0] * look.sides[1], machine_memory()
    if needed > limit:
        raise BadInput(
            f"{root}: {count:,} pictures of {look.text} take {needed / 1e9:,.1f} GB as arrays, more than "
            f"the {limit / 1e9:,.1f} GB of memory here: {advice}"
        )


def _listed(files: list[tuple[str, int]]) -> Pictures:
    return Pictures(np.array([fsencode(path) for path, _ in files]), np.array([label for _, label in files], np.int64))


def _decoded(root: Path, listed: dict[str, Pictures], look: Look) -> dict[str, Pictures]:
    splits = {
        split: replace(pictures, images=np.empty((len(pictures.labels), look.channels, *look.sides), np.uint8))
        for split, pictures in listed.items()
    }
    wanted = [(split, place) for split, pictures in listed.items() for place in range(len(pictures.labels))]

    def work(one: tuple[str, int]) -> None:
        split, place = one
        splits[split].images[place] = decode(root / fsdecode(listed[split].images[place]), look)

    in_threads(work, wanted, Progress(f"decode {root}", len(wanted), "pictures"))
    return splits


def from_arrays(kind: str, root: Path, look: Look, wish: Wish) -> Holds:
    """Return the pictures of kind "arrays" or "huggingface", in an order drawn from the seed.

    Raises BadInput as `arrays.read` does, or where a picture has no meaning as one.
    """
    found = arrays.read(kind, root, wish.labels, wish.share)
    count = sum(len(labels) for _, labels in found.splits.values())
    check_memory(count, look, root, "a smaller size, or an image folder with `storage: files`, takes less")
    splits = {}
    for split, (pictures, labels) in found.splits.items():
        images = np.empty((len(labels), look.channels, *look.sides), np.uint8)
        progress = Progress(f"read {split} of {root}", len(images), "pictures")
        for place in range(len(images)):
            try:
                images[place] = arrays.shaped_picture(pictures[place], look)
            except (ValueError, OSError, TypeError) as error:
                raise BadInput(f"{root}: picture {place} of {split}: {error}") from None
            progress.advance()
        splits[split] = Pictures(images, labels)
    splits = ordered(splits, wish)
    return Holds(found.classes, splits, found.notes, array_twins(splits))


def fashion_mnist(root: Path, look: Look, wish: Wish) -> Holds:
    """Return Fashion-MNIST, in its own order. Raises BadInput as `fashion` does."""
    return Holds(DATASETS["fashion"].classes, fashion(root))


LOADERS = {
    "digits": digits,
    "cifar10": cifar10,
    "fashion": fashion_mnist,
    "imagefolder": image_folder,
    "arrays": partial(from_arrays, "arrays"),
    "huggingface": partial(from_arrays, "huggingface"),
}
"""By the kinds of `pagoda.data.classes.DATASETS`."""
