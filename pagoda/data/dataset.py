"""A fetched dataset: ``dataset.json`` and the four arrays beside it, and batches of pictures from them.

Pictures come out as float32 tensors [B, C, H, W] with values in [0, 1].
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from os import fsdecode
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pagoda.data.decode import Look, decode
from pagoda.errors import BadInput
from pagoda.files import replacing, write_json
from pagoda.maths.randomness import generator

TOGETHER = 2**24
"""Values of pictures in memory at once as floats, where many are looked at: 64 MB."""


@dataclass(frozen=True)
class Pictures:
    """One split: `images` is uint8 [N, C, H, W], or N paths below the root in bytes; `labels` is int64 [N].

    `seed` is that of the order that `shuffled` gave them; None: they are in the order of their source.
    """

    images: np.ndarray
    labels: np.ndarray
    seed: int | None = None


def shuffled(pictures: Pictures, seed: int, split: str) -> Pictures:
    """Return `pictures` in an order drawn from `seed`, so that the first k of them are a sample of all classes."""
    order = _order(len(pictures.labels), seed, split).numpy()
    return Pictures(pictures.images[order], pictures.labels[order], seed)


def _order(count: int, seed: int, split: str) -> Tensor:
    return torch.randperm(count, generator=generator("cpu", seed, "order", split))


@dataclass(frozen=True)
class Description:
    """What ``dataset.json`` says.

    `storage` is "arrays" (pixels lie in the .npy files) or "files" (paths below `root` do). `mean` and `std` are a
    channel's, in units of [0, 1]. `fingerprint` identifies pictures, labels and their order (pictures that are files:
    by their names, sizes and times of change). `size` is the side of a picture in pixels, or height and width where
    they differ. `resize`, `background` and `range` are those of `pagoda.data.decode.Look`. `notes` say what fetch
    found: what was left out, how pictures were cut, which stand twice. `order_seed` is that of the order into which
    the test pictures were shuffled; None: they are in the order of their source.
    """

    kind: str
    classes: tuple[str, ...]
    channels: int
    size: int | tuple[int, int]
    storage: str
    root: str
    train: int
    test: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    resize: int = 0
    order_seed: int | None = None
    background: float = 1.0
    range: tuple[float, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of a picture, pixels."""
        return sides(self.size)

    @property
    def look(self) -> Look:
        """What becomes of a picture that is a file."""
        return Look(self.sides, self.channels, self.background, self.range, self.resize)


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return height and width of pictures whose `size` is a side, or both."""
    return (size, size) if isinstance(size, int) else size


def write_dataset(path: Path, splits: dict[str, Pictures], notes: Sequence[str] = (), **facts) -> Description:
    """Write ``dataset.json`` at `path` and the arrays beside it; `facts` are Description's that pictures don't tell."""
    # The root is left out: the same pictures in another folder are the same data.
    digest = hashlib.sha256(repr(sorted((k, v) for k, v in facts.items() if k != "root")).encode())
    for split in ("train", "test"):
        for what, array in (("images", splits[split].images), ("labels", splits[split].labels)):
            with replacing(path.with_name(f"{split}_{what}.npy")) as beside:
                np.save(beside, array)
                with beside.open("rb") as file:
                    hashlib.file_digest(file, lambda: digest)  # in pieces, after what stood before
        if facts["storage"] == "files":
            for name in splits[split].images:
                status = (Path(facts["root"]) / fsdecode(name)).stat()
                digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
    sizes = {split: len(pictures.labels) for split, pictures in splits.items()}
    described = Description(
        **facts, **sizes, fingerprint=digest.hexdigest()[:12], order_seed=splits["test"].seed, notes=tuple(notes)
    )
    write_json(path, asdict(described))
    return described


def read_description(path: Path) -> Description:
    """Read a ``dataset.json``. Raises BadInput where it is missing or something else."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        return Description(**{k: tuple(value) if isinstance(value, list) else value for k, value in fields.items()})
    except FileNotFoundError:
        raise BadInput(f"no dataset at {path}: the fetch step writes it") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not a dataset.json that the fetch step wrote: {error}") from None


class Split:
    """The pictures and labels of one split, in their fixed order, or in that of their source.

    The order of an image folder is by class, then by name: picture k is the k-th of torchvision's ImageFolder, and of
    published logs of the test pictures.

    `labels` is int64 [N]. `pixels` is uint8 [N, C, H, W], mapped from disk, or None where pictures are files.
    """

    def __init__(self, path: Path, split: str, part: slice = slice(None), *, as_in_source: bool = False):
        """Open split "train" or "test" of the dataset whose ``dataset.json`` is at `path`, or a part of it."""
        self.description = read_description(path)
        self.labels = torch.from_numpy(np.load(Path(path).with_name(f"{split}_labels.npy"))[part])
        # Copy-on-write: pages are shared with other jobs, and PyTorch wants an array that could be written to.
        self._images = np.load(Path(path).with_name(f"{split}_images.npy"), mmap_mode="c")[part]
        seed, self._place = self.description.order_seed, None
        if as_in_source and seed is not None:
            self._place = _order(len(self.labels), seed, split).argsort()
            self.labels = self.labels[self._place]
        self.pixels = torch.from_numpy(self._images) if self.description.storage == "arrays" else None

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def path(self, place: int) -> Path:
        """Return the path of the picture at `place`, where pictures are files."""
        return Path(self.description.root) / fsdecode(self._images[place])

    def images(self, places: Tensor | list[int]) -> Tensor:
        """Return the pictures at `places` (int64 [B]), centred: float32 [B, C, H, W] in [0, 1]."""
        places = torch.as_tensor(places)
        if self._place is not None:
            places = self._place[places]
        if self.pixels is not None:
            return self.pixels[places].float() / 255
        paths, look = [self.path(place) for place in places.tolist()], self.description.look
        # Threads, because decoding lets go of Python's lock; as many as the step computes with.
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            decoded = list(pool.map(lambda path: decode(path, look), paths))
        return torch.from_numpy(np.stack(decoded)).float() / 255

    def parts(self, places: Tensor) -> Iterator[Tensor]:
        """Yield the pictures at `places`, int64 [B], as `images` does, some at a time: TOGETHER values at most."""
        one = self.description.channels * math.prod(self.description.sides)
        for some in places.split(max(1, min(1000, TOGETHER // one))):
            yield self.images(some)

    def every(self, count: int, skip: int = 0, first: int = 0) -> list[int]:
        """Return the places of `count` pictures spread evenly over the split (of all, where it has no more).

        With `skip`, every skip-th from `first` on, `count` at most. Raises BadInput where there is no picture `first`.
        """
        if first >= len(self):
            raise BadInput(f"first is {first}: the pictures are 0 to {len(self) - 1}")
        if skip:
            return list(range(first, len(self), skip))[:count]
        count = min(count, len(self))
        return [k * len(self) // count for k in range(count)]
