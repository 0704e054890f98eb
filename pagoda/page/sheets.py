"""Sheets: the pictures of an ascent as one image, in the page itself or, where they are too many, beside it."""

import base64
import hashlib
import io
import math
import re
from pathlib import Path

import numpy as np
from PIL import Image

from pagoda.files import write_bytes

LOSSLESS = 64
"""Pixels a side up to which pictures are stored exactly; larger ones as WebP of quality QUALITY."""
QUALITY = 85
OVERVIEW = 112  # pixels a side, at most, that the page's grid has of larger pictures
WEBP_SIDE = 16383  # pixels a side that the WebP format ends at
FOLDER = "sheets"


class Sheets:
    """The sheets of a page, each once, by number.

    Below `limit` bytes in all they stand in the page, as data URLs; above, as files in the folder `sheets` beside it,
    which the page loads when it shows them.
    """

    def __init__(self, page: Path, limit: int):
        """Sheets of the page at the path `page`. Those that an earlier page has left in the folder are removed."""
        self.folder, self.limit, self.size = page.parent / FOLDER, limit, 0
        self._paths: dict[str, Path] = {}  # by the hash of what is in them
        for old in self.folder.glob("*.*"):
            if re.fullmatch(r"[0-9]+\.(png|webp)", old.name):
                old.unlink()

    @property
    def beside(self) -> bool:
        """Whether they lie beside the page."""
        return self.size * 4 / 3 > self.limit

    def add(self, tiles: np.ndarray) -> int:
        """Add pictures, uint8 [sources, frames, C, H, W], and return the number of their sheet."""
        form, content = sheet(tiles)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._paths:
            self._paths[digest] = self.folder / f"{len(self._paths)}.{form}"
            self.size += len(content)
            write_bytes(self._paths[digest], content)
        return int(self._paths[digest].stem)

    def urls(self) -> list[str]:
        """Return where each sheet is found, by number. Of those that stand in the page the files are removed."""
        paths = list(self._paths.values())
        if self.beside:
            return [f"{FOLDER}/{path.name}" for path in paths]
        urls = [f"data:image/{path.suffix[1:]};base64,{base64.b64encode(path.read_bytes()).decode()}" for path in paths]
        for path in paths:
            path.unlink()
        return urls


def shrink_of(height: int, width: int) -> int:
    """Return how many pixels a side make one of the grid's; 0: its pictures need no sheets of their own."""
    return 0 if max(height, width) <= LOSSLESS else math.ceil(max(height, width) / OVERVIEW)


def shrunk(tiles: np.ndarray, by: int) -> np.ndarray:
    """Return pictures, uint8 [..., H, W], whose pixels are the means of `by` times `by`."""
    height, width = (side // by for side in tiles.shape[-2:])
    whole = tiles[..., : height * by, : width * by].reshape(*tiles.shape[:-2], height, by, width, by)
    return whole.mean(axis=(-3, -1)).round().astype(np.uint8)


def sheet(tiles: np.ndarray) -> tuple[str, bytes]:
    """Return pictures, uint8 [sources, frames, C, H, W], as one image: its format and its bytes; the same for the same.

    Large ones stand in a column. Of small ones, whose image must be exact, the rows of all frames of a source are
    interleaved, so that lossless compression predicts a pixel from the frame before: a seventh less on the digits.
    """
    sources, frames, channels, height, width = tiles.shape
    small = max(height, width) <= LOSSLESS
    ordered = tiles.transpose(0, 3, 1, 4, 2) if small else tiles.transpose(0, 1, 3, 4, 2)
    whole = ordered.reshape(sources * frames * height, width, channels)
    image = Image.fromarray(whole[:, :, 0] if channels == 1 else whole)
    if len(whole) > WEBP_SIDE:
        return _encoded("png", image, optimize=True)
    if not small:
        return _encoded("webp", image, quality=QUALITY, method=6)
    forms = _encoded("png", image, optimize=True), _encoded("webp", image, lossless=True, quality=100, method=4)
    return min(forms, key=lambda form: len(form[1]))


def _encoded(form: str, image: Image.Image, **settings: object) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return form, buffer.getvalue()
