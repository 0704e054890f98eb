"""Training and evaluation batches: from arrays on the device, or decoded by worker processes.

Augmentation is a function of (seed, epoch, ...), so that an interrupted epoch goes on with the pictures that it
would have seen.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from steps.data.dataset import Split
from steps.data.decode import centre_square, decode
from steps.maths.randomness import generator
from steps.run.errors import BadInput


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
    first: int = 0,
    workers: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (pictures [B, C, size, size] in [0, 1], labels [B]) on `device` for each batch of places in `order`.

    Args:
        split: where the pictures are.
        order: batches of places.
        device: where to.
        augmentation: what to do to the pictures, or None.
        key: what augmentation is a function of, e.g. (seed, epoch); batch or picture numbers are added to it.
        first: how many batches to leave out at the front: those that were done before an interruption.
        workers: processes that decode, where pictures are files.

    """
    if split.pixels is None:
        yield from _decoded(split, order[first:], device, augmentation, key, workers)
        return
    pixels, labels = split.pixels.to(device), split.labels.to(device)
    for number, places in enumerate(order[first:], first):
        chosen = places.to(device)
        x = pixels[chosen].float() / 255
        if augmentation is not None:
            x = shift_and_flip(x, augmentation, generator(device, *key, "augment", number))
        yield x, labels[chosen]


def shift_and_flip(x: Tensor, augmentation: Augmentation, source: torch.Generator) -> Tensor:
    """Move each picture of `x`, [B, C, H, W], by its own random shift, and mirror half of them."""
    size, device = len(x), x.device
    if augmentation.shift:
        reach = augmentation.shift
        height, width = x.shape[2:]
        dy, dx = torch.randint(0, 2 * reach + 1, (2, size, 1), generator=source, device=device)
        rows = (torch.arange(height, device=device) + dy)[:, None, :, None]
        columns = (torch.arange(width, device=device) + dx)[:, None, None, :]
        picture = torch.arange(size, device=device)[:, None, None, None]
        channel = torch.arange(x.shape[1], device=device)[None, :, None, None]
        x = F.pad(x, (reach,) * 4)[picture, channel, rows, columns]
    if augmentation.flip:
        mirrored = torch.rand(size, generator=source, device=device) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    return x


def _decoded(
    split: Split,
    order: list[Tensor],
    device: torch.device,
    augmentation: Augmentation | None,
    key: tuple,
    workers: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    loader = torch.utils.data.DataLoader(
        _Files(split, augmentation, key),
        batch_sampler=[places.tolist() for places in order],
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    for pixels, labels, faults in loader:
        for fault in filter(None, faults):
            raise BadInput(fault)
        yield pixels.to(device, non_blocking=True).float() / 255, labels.to(device, non_blocking=True)


class _Files(torch.utils.data.Dataset):
    """Decodes one picture; its random crop is a function of (key, place), whichever process decodes it."""

    def __init__(self, split: Split, augmentation: Augmentation | None, key: tuple):
        self.split, self.augmentation, self.key = split, augmentation, key

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor, str]:
        """Return pixels, label, and what is wrong with the file: raised here, it would come with a page of traces."""
        size = self.split.description.size
        try:
            pixels, fault = self._pixels(place, size), ""
        except BadInput as error:
            pixels, fault = np.zeros((3, size, size), np.uint8), str(error)
        return torch.from_numpy(np.ascontiguousarray(pixels)), self.split.labels[place], fault

    def _pixels(self, place: int, size: int) -> np.ndarray:
        path = self.split.path(place)
        if self.augmentation is None:
            return decode(path, size)
        source = np.random.default_rng(generator("cpu", *self.key, "augment", place).initial_seed())
        return decode(path, size, crop=lambda picture, _: self._cut(picture, size, source))

    def _cut(self, picture: Image.Image, size: int, source: np.random.Generator) -> Image.Image:
        if self.augmentation.crop:
            left, top, width, height = random_crop(*picture.size, source)
            box = (left, top, left + width, top + height)
            square = picture.resize((size, size), Image.Resampling.BILINEAR, box=box)
        else:
            square = centre_square(picture, size)
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
