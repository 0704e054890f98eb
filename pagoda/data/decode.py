"""One picture to pixels: a file, or an array, of any kind that has a meaning as a picture."""

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pagoda.data.names import shown
from pagoda.errors import BadInput

HEIF = (".heic", ".heif", ".hif")
DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
"""Pillow's modes of one channel with more than 8 bits."""


@dataclass(frozen=True)
class Look:
    """What becomes of a picture.

    `sides` are height and width in pixels; `channels` 1 (grey) or 3 (RGB). `background` is the grey level in [0, 1]
    that shows through where it is transparent. `range` holds the values that are black and white in pictures of one
    channel that are not 8-bit; empty: those of the type, which floats have not. `resize` is the shorter side to which
    it is scaled before its centre is cut out; 0: as far as `sides` needs.
    """

    sides: tuple[int, int]
    channels: int = 3
    background: float = 1.0
    range: tuple[float, ...] = ()
    resize: int = 0

    @property
    def text(self) -> str:
        """The sides as people write them: 32 x 48 is 32 high and 48 wide."""
        return "{} x {} pixels".format(*self.sides)


def centre(picture: Image.Image, look: Look) -> Image.Image:
    """Scale a picture until it covers `look.sides`, and cut out the centre (bilinear, antialiased).

    With `resize`, pixel for pixel torchvision's Resize(resize), then CenterCrop: Cohen et al. 2019 have 256 and 224.
    """
    high, wide = look.sides
    if not look.resize:
        return ImageOps.fit(picture, (wide, high), Image.Resampling.BILINEAR)
    # As torchvision rounds: the longer side down, the margins to the nearest, halves to even.
    width, height = (int(look.resize * side / min(picture.size)) for side in picture.size)
    left, top = round((width - wide) / 2), round((height - high) / 2)
    scaled = picture.resize((width, height), Image.Resampling.BILINEAR)
    return scaled.crop((left, top, left + wide, top + high))


def share_cut(width: int, height: int, look: Look) -> float:
    """Return the share of the area of a picture that `centre` cuts away."""
    high, wide = look.sides
    scale = look.resize / min(width, height) if look.resize else max(wide / width, high / height)
    return max(0.0, 1 - min(wide, width * scale) * min(high, height * scale) / (width * height * scale**2))


def decode(path: Path, look: Look, cut: Callable[[Image.Image], Image.Image] | None = None) -> np.ndarray:
    """Return the picture at `path`, uint8 [channels, H, W]: what `cut` (default: `centre`) makes of it.

    As people see it: turned as its EXIF data say, on the background where it is transparent, 16 bits scaled to 8.

    Raises:
        BadInput: names the file where it is missing, truncated, no picture at all, or of values without a range.

    """
    with opened(path) as picture:
        return shaped(picture, look, cut)


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Yield the picture at `path`. Raises BadInput, here or around what is done with it, that names the file."""
    try:
        if path.suffix.lower() in HEIF:
            _register_heif()
        with Image.open(path) as picture:
            yield picture
    except Exception as error:  # of a damaged file, Pillow's readers raise whatever they met
        said = "no picture" if isinstance(error, UnidentifiedImageError) else getattr(error, "strerror", None) or error
        raise BadInput(f"cannot read the picture {shown(str(path))}: {shown(str(said))}") from None


def shaped(picture: Image.Image, look: Look, cut: Callable[[Image.Image], Image.Image] | None = None) -> np.ndarray:
    """Return an open picture as `decode` does. Raises ValueError where its values have no range."""
    ImageOps.exif_transpose(picture, in_place=True)
    plain = _plain(picture, look)
    pixels = np.asarray(cut(plain) if cut else centre(plain, look), np.uint8)
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


def _plain(picture: Image.Image, look: Look) -> Image.Image:
    """Return a picture as 8-bit RGB or grey, opaque."""
    if picture.mode in DEEP:
        values, clear = np.asarray(picture), picture.info.get("transparency")
        picture = Image.fromarray(to_bytes(values, look.range or _range_of(picture)))
        if clear is not None:
            picture.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        behind = Image.new("RGBA", picture.size, (round(255 * look.background),) * 3 + (255,))
        picture = Image.alpha_composite(behind, picture)
    return picture.convert("RGB" if look.channels == 3 else "L")


def _range_of(picture: Image.Image) -> tuple[float, float]:
    """Return the values that are black and white in a picture of DEEP modes. Raises ValueError where none are told."""
    if picture.mode.startswith("I;16"):
        tags = getattr(picture, "tag_v2", {})  # of TIFF: some have 12 bits, in some 0 is white
        most = 2 ** tags.get(258, (16,))[0] - 1
        return (most, 0) if tags.get(262) == 0 else (0, most)
    if picture.mode == "I" and picture.format in ("PNG", "PPM"):
        return 0, 65535
    kind = "floats" if picture.mode == "F" else "32-bit numbers"
    raise ValueError(f"it holds {kind}; say which are black and white: `range: [0, 1]`")


def to_bytes(values: np.ndarray, black_white: tuple[float, ...]) -> np.ndarray:
    """Return `values` as uint8: the first of `black_white` as 0, the second as 255, what is beyond cut off.

    Raises ValueError where one is no number.
    """
    black, white = black_white
    scaled = (values.astype(np.float64) - black) * (255 / (white - black))
    if np.isnan(scaled).any():
        raise ValueError("it holds NaN")
    return scaled.clip(0, 255).round().astype(np.uint8)


@cache
def _register_heif() -> None:
    importlib.import_module("pillow_heif").register_heif_opener()
