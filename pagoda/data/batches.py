"""Training and evaluation batches: from arrays on the device, or decoded by worker processes.

Augmentation is a function of (seed, epoch, ...), so that an interrupted epoch goes on with the pictures that it
would have seen.
"""

import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pagoda.data.dataset import Split
from pagoda.data.decode import decode
from pagoda.errors import BadInput
from pagoda.log import logger
from pagoda.maths.randomness import generator

WHOLE = slice(None)
"""Of a process that is alone."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training pictures.

    `flip`: mirror left and right half the time. `shift`: move by up to so many pixels each way, filling with zeros.
    `crop`: for pictures that are files, a random crop of 8 to 100 % of the area, scaled to size (as for ImageNet).
    """

    flip: bool = False
    shift: int = 0
    crop: bool = False


def epoch_order(n: int, batch: int, seed: int, epoch: int) -> list[Tensor]:
    """Return the places 0 ... n-1 in an order drawn from (seed, epoch), in batches; the last may be smaller."""
    return list(torch.randperm(n, generator=generator("cpu", seed, "order", epoch)).split(batch))


def batches(
    split: Split,
    order: list[Tensor],
    *,
    device: torch.device,
    augmentation: Augmentation | None = None,
    key: tuple = (),
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pictures [B, C, size, size] in [0, 1], labels [B]) on `device` for each batch of places in `order`.

    Args:
        split: where the pictures are.
        order: batches of places.
        device: where to.
        augmentation: what to do to the pictures, or None.
        key: what augmentation is a function of, e.g. (seed, epoch); batch or picture numbers are added to it.
        workers: processes that decode, where pictures are files.

    """
    steps = ((key, number, places) for number, places in enumerate(order))
    yield from _made(split, steps, device, augmentation, WHOLE, workers)


def stream(
    split: Split,
    order: Callable[[int], list[Tensor]],
    *,
    device: torch.device,
    augmentation: Augmentation,
    seed: int,
    first: int,
    steps: int,
    share: slice = WHOLE,
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what `batches` does, for steps `first` ... `steps` - 1 of a training, epoch after epoch.

    Workers are started once, and decode ahead over the ends of epochs.

    Args:
        split: where the pictures are.
        order: maps an epoch, from 0, to its batches of places, as many in each.
        device: where to.
        augmentation: what to do to the pictures: a function of (seed, epoch) and batch or picture numbers.
        seed: see there.
        first: steps that were done before.
        steps: of the whole training.
        share: the rows of each batch that this process gets, e.g. every third, which may be none; they are what they
            would be if it got all.
        workers: processes that decode, where pictures are files. They leave SIGTERM and SIGINT to this process.

    """
    begun, done = divmod(first, len(order(0)))
    every = (((seed, epoch), *batch) for epoch in count(begun) for batch in enumerate(order(epoch)))
    yield from _made(split, islice(every, done, done + steps - first), device, augmentation, share, workers)


def _made(
    split: Split,
    steps: Iterable[tuple[tuple, int, Tensor]],
    device: torch.device,
    augmentation: Augmentation | None,
    share: slice,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a share of the batch of each step: a key, a number in its epoch, and places."""
    if split.pixels is None:
        yield from _decoded(split, steps, device, augmentation, share, workers)
        return
    pixels, labels = resident(split.pixels, device), split.labels.to(device)
    for key, number, places in steps:
        x = _taken(pixels, places[share], device).float() / 255
        if augmentation is not None:
            source = generator(device, *key, "augment", number)
            # Drawn for the whole batch: a picture's shift is the same whoever moves it.
            x = _moved(x, *(drawn[..., share] for drawn in _drawn(len(places), augmentation, source)), augmentation)
        yield x, labels[places[share].to(device)]


def resident(pixels: Tensor, device: torch.device) -> Tensor:
    """Return `pixels` on `device`, or as they are where they would take more than half of a GPU's free memory."""
    if device.type != "cpu" and pixels.nbytes > (free := free_memory(device)) / 2:
        logger.info("%.1f GB of pictures stay beside the GPU: %.1f GB are free on it", pixels.nbytes / 1e9, free / 1e9)
        return pixels
    return pixels.to(device)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU."""
    return torch.cuda.mem_get_info(device)[0]


def _taken(pixels: Tensor, places: Tensor, device: torch.device) -> Tensor:
    if pixels.device.type == device.type:
        return pixels[places.to(device)]
    taken = pixels[places]
    return (taken.pin_memory() if device.type == "cuda" else taken).to(device, non_blocking=True)


def shift_and_flip(x: Tensor, augmentation: Augmentation, source: torch.Generator) -> Tensor:
    """Move each picture of `x`, [B, C, H, W], by its own random shift, and mirror half of them."""
    return _moved(x, *_drawn(len(x), augmentation, source), augmentation)


def _drawn(size: int, augmentation: Augmentation, source: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the shifts, int [2, size], and whether each of `size` pictures is mirrored, bool [size]."""
    shifts = torch.zeros(2, size, dtype=torch.int64, device=source.device)
    mirrored = torch.zeros(size, dtype=torch.bool, device=source.device)
    if augmentation.shift:
        shifts = torch.randint(0, 2 * augmentation.shift + 1, (2, size), generator=source, device=source.device)
    if augmentation.flip:
        mirrored = torch.rand(size, generator=source, device=source.device) < 0.5
    return shifts, mirrored


def _moved(x: Tensor, shifts: Tensor, mirrored: Tensor, augmentation: Augmentation) -> Tensor:
    size, device = len(x), x.device
    if augmentation.shift:
        height, width = x.shape[2:]
        dy, dx = shifts.unsqueeze(2)
        rows = (torch.arange(height, device=device) + dy)[:, None, :, None]
        columns = (torch.arange(width, device=device) + dx)[:, None, None, :]
        picture = torch.arange(size, device=device)[:, None, None, None]
        channel = torch.arange(x.shape[1], device=device)[None, :, None, None]
        x = F.pad(x, (augmentation.shift,) * 4)[picture, channel, rows, columns]
    if augmentation.flip:
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x


def _decoded(
    split: Split,
    steps: Iterable[tuple[tuple, int, Tensor]],
    device: torch.device,
    augmentation: Augmentation | None,
    share: slice,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    files = _Files(split, augmentation)
    loader = torch.utils.data.DataLoader(
        files,
        batch_sampler=([(key, place) for place in places[share].tolist()] for key, _, places in steps),
        num_workers=workers,
        collate_fn=files.collate,
        pin_memory=device.type == "cuda",
    )
    for pixels, labels, faults in _left_alone(loader):
        for fault in filter(None, faults):
            raise BadInput(fault)
        yield pixels.to(device, non_blocking=True).float() / 255, labels.to(device, non_blocking=True)


def _left_alone(loader: torch.utils.data.DataLoader) -> Iterator:
    """Start the loader's workers such that signals to stop do not reach them: this process ends them in time."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # a child inherits the mask
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Files(torch.utils.data.Dataset):
    """Decodes one picture; its random crop is a function of (key, place), whichever process decodes it."""

    def __init__(self, split: Split, augmentation: Augmentation | None):
        self.split, self.augmentation = split, augmentation

    def __getitem__(self, item: tuple[tuple, int]) -> tuple[Tensor, Tensor, str]:
        """Return pixels, label, and what is wrong with the file: raised here, it would come with a page of traces."""
        (key, place), size = item, self.split.description.size
        try:
            pixels, fault = self._pixels(key, place, size), ""
        except BadInput as error:
            pixels, fault = np.zeros((3, size, size), np.uint8), str(error)
        return torch.from_numpy(np.ascontiguousarray(pixels)), self.split.labels[place], fault

    def collate(self, items: list[tuple[Tensor, Tensor, str]]) -> tuple[Tensor, Tensor, list[str]]:
        """Return a batch of items, which may be none: uint8 [B, 3, size, size], int64 [B], B faults."""
        if not items:
            size = self.split.description.size
            return torch.zeros(0, 3, size, size, dtype=torch.uint8), self.split.labels[:0], []
        pixels, labels, faults = torch.utils.data.default_collate(items)
        return pixels, labels, faults

    def _pixels(self, key: tuple, place: int, size: int) -> np.ndarray:
        path = self.split.path(place)
        if self.augmentation is None:
            return decode(path, self.split.centre)
        source = np.random.default_rng(generator("cpu", *key, "augment", place).initial_seed())
        return decode(path, lambda picture: self._cut(picture, size, source))

    def _cut(self, picture: Image.Image, size: int, source: np.random.Generator) -> Image.Image:
        if self.augmentation.crop:
            left, top, width, height = random_crop(*picture.size, source)
            box = (left, top, left + width, top + height)
            square = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
        else:
            square = self.split.centre(picture)
        mirrored = self.augmentation.flip and source.random() < 0.5
        return square.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else square


def random_crop(width: int, height: int, source: np.random.Generator) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a crop of 8-100 % of the area and aspect 3/4 ... 4/3; else the centre.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions" (arXiv 1409.4842), section 6.
    """
    for _ in range(10):
        area = width * height * source.uniform(0.08, 1)
        aspect = np.exp(source.uniform(np.log(3 / 4), np.log(4 / 3)))
        wide, high = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            return int(source.integers(width - wide + 1)), int(source.integers(height - high + 1)), wide, high
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side, side
