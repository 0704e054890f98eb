"""One image file to pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pagoda.errors import BadInput


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to `size` (bilinear, antialiased) and crop the centre, unless it has that size already."""
    if picture.size == (size, size):
        return picture
    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    left, top = (width - size) // 2, (height - size) // 2
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + size, top + size))


def centre_crop(picture: Image.Image, size: int, resize: int) -> Image.Image:
    """Scale the shorter side to `resize` and crop the centre, as published code for ImageNet does before it tests.

    Pixel for pixel torchvision's Resize(resize), then CenterCrop(size): Cohen et al. 2019 have 256 and 224.
    """
    # As torchvision rounds: the longer side down, the margins to the nearest, halves to even.
    width, height = (int(resize * side / min(picture.size)) for side in picture.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + size, top + size))


def decode(path: Path, cut: Callable[[Image.Image], Image.Image]) -> np.ndarray:
    """Return the picture at `path` as RGB, uint8 [3, size, size]: the square that `cut` makes of it.

    Raises:
        BadInput: names the file where it is missing, truncated or no picture at all.

    """
    try:
        with Image.open(path) as picture:
            square = cut(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"cannot read the picture {path}: {error}") from None
    return np.asarray(square, np.uint8).transpose(2, 0, 1)
