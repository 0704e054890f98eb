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
from pagoda.data.decode import Look, centre, decode
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


def stream(
    split: Split,
    order: Callable[[int], list[Tensor]],
    *,
    device: torch.device,
    steps: int,
    first: int = 0,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    share: slice = WHOLE,
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pictures [B, C, H, W] in [0, 1], labels [B]) on `device` for steps `first` ... `steps` - 1.

    Epoch goes after epoch: workers are started once, and decode ahead over their ends.

    Args:
        split: where the pictures are.
        order: maps an epoch, from 0, to its batches of places, as many in each.
        device: where to.
        steps: of the whole training.
        first: steps that were done before.
        augmentation: what to do to the pictures, by the key (seed, epoch) and the number of batch or picture, or None.
        seed: of the key.
        share: the rows of each batch that this process gets, e.g. every third, which may be none; they are what they
            would be if it got all.
        workers: processes that decode, where pictures are files; they leave SIGTERM and SIGINT to this process.

    """
    begun, done = divmod(first, max(1, len(order(0))))
    every = ((epoch, *batch) for epoch in count(begun) for batch in enumerate(order(epoch)))
    wanted = islice(every, done, done + steps - first)
    if split.pixels is None:
        parts = (((seed, epoch), places[share].tolist()) for epoch, _, places in wanted)
        for pixels, labels, fault in _loaded(_Files(split, augmentation), parts, device, workers):
            if fault:
                raise BadInput(fault)
            yield pixels.to(device, non_blocking=True).float() / 255, labels.to(device, non_blocking=True)
        return
    pixels, labels = resident(split.pixels, device), split.labels.to(device)
    for epoch, number, places in wanted:
        x = _taken(pixels, places[share], device).float() / 255
        if augmentation is not None:
            x = shift_and_flip(x, augmentation, generator(device, seed, epoch, "augment", number), len(places), share)
        yield x, labels[places[share].to(device)]


def resident(pixels: Tensor, device: torch.device) -> Tensor:
    """Return `pixels` on `device`, or as they are where they would take more than half of a GPU's free memory."""
    if device.type != "cpu" and pixels.nbytes > (free := torch.cuda.mem_get_info(device)[0]) / 2:
        logger.info("%.1f GB of pictures stay beside the GPU: %.1f GB are free on it", pixels.nbytes / 1e9, free / 1e9)
        return pixels
    return pixels.to(device)


def _taken(pixels: Tensor, places: Tensor, device: torch.device) -> Tensor:
    taken = pixels[places.to(pixels.device)]
    aside = device.type == "cuda" and not taken.is_cuda
    return (taken.pin_memory() if aside else taken).to(device, non_blocking=True)


def shift_and_flip(
    x: Tensor, augmentation: Augmentation, source: torch.Generator, count: int, share: slice = WHOLE
) -> Tensor:
    """Move each picture of `x`, [B, C, H, W], by its own random shift, and mirror half of them.

    They are the `share` of a batch of `count`, for all of which is drawn: a picture's shift is the same whoever moves
    it.
    """
    _, channels, height, width = x.shape
    if augmentation.shift:
        shifts = torch.randint(0, 2 * augmentation.shift + 1, (2, count), generator=source, device=x.device)
        dy, dx = shifts[:, share].unsqueeze(2)
        rows = (torch.arange(height, device=x.device) + dy)[:, None, :, None]
        columns = (torch.arange(width, device=x.device) + dx)[:, None, None, :]
        picture = torch.arange(len(x), device=x.device)[:, None, None, None]
        channel = torch.arange(channels, device=x.device)[:, None, None]
        x = F.pad(x, (augmentation.shift,) * 4)[picture, channel, rows, columns]
    if augmentation.flip:
        mirrored = torch.rand(count, generator=source, device=x.device)[share] < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x


def _loaded(files: "_Files", wanted: Iterable, device: torch.device, workers: int) -> Iterator:
    """Start workers such that signals to stop do not reach them: this process ends them in time."""
    loader = torch.utils.data.DataLoader(
        files, batch_size=None, sampler=wanted, num_workers=workers, pin_memory=device.type == "cuda"
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # a child inherits the mask
    try:
        return iter(loader)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Files(torch.utils.data.Dataset):
    """Decodes batches; a picture's random crop is a function of (key, place), whichever process decodes it."""

    def __init__(self, split: Split, augmentation: Augmentation | None):
        self.split, self.augmentation = split, augmentation

    def __getitem__(self, batch: tuple[tuple, list[int]]) -> tuple[Tensor, Tensor, str]:
        """Return pixels, uint8 [B, C, H, W], labels, int64 [B], and what is wrong with a file, if anything.

        Raised here, it would come with a page of traces.
        """
        (key, places), look, fault = batch, self.split.description.look, ""
        pixels = torch.zeros(len(places), look.channels, *look.sides, dtype=torch.uint8)
        try:
            for row, place in zip(pixels.numpy(), places, strict=True):
                row[:] = self._pixels(key, place, look)
        except BadInput as error:
            fault = str(error)
        return pixels, self.split.labels[places], fault

    def _pixels(self, key: tuple, place: int, look: Look) -> np.ndarray:
        if self.augmentation is None:
            return decode(self.split.path(place), look)
        source = np.random.default_rng(generator("cpu", *key, "augment", place).initial_seed())

        def cut(picture: Image.Image) -> Image.Image:
            if self.augmentation.crop:
                high, wide = look.sides
                left, top, width, height = random_crop(*picture.size, source, wide / high)
                box = (left, top, left + width, top + height)
                part = picture.resize((wide, high), Image.Resampling.BILINEAR, box=box)
            else:
                part = centre(picture, look)
            mirrored = self.augmentation.flip and source.random() < 0.5
            return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part

        return decode(self.split.path(place), look, cut)


def random_crop(width: int, height: int, source: np.random.Generator, shape: float = 1) -> tuple[int, int, int, int]:
    """Return (left, top, width, height) of a crop of 8-100 % of the area and aspect 3/4 ... 4/3; else the centre.

    The aspect is width over height, in units of `shape`, that of the pictures that crops are scaled to.

    Source: Szegedy et al. 2015, "Going Deeper with Convolutions" (arXiv 1409.4842), section 6.
    """
    for _ in range(10):
        area = width * height * source.uniform(0.08, 1)
        aspect = shape * np.exp(source.uniform(np.log(3 / 4), np.log(4 / 3)))
        wide, high = round(np.sqrt(area * aspect)), round(np.sqrt(area / aspect))
        if 0 < wide <= width and 0 < high <= height:
            return int(source.integers(width - wide + 1)), int(source.integers(height - high + 1)), wide, high
    wide, high = min(width, max(1, round(height * shape))), min(height, max(1, round(width / shape)))
    return (width - wide) // 2, (height - high) // 2, wide, high
