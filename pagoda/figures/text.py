"""Text of a figure, measured: wrapped or shortened to a width. All lengths are pixels at the figures' DPI."""

import re
import warnings
from functools import lru_cache

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from pagoda.figures.style import DPI

ELLIPSIS = "…"
NO_BREAK = "\N{NO-BREAK SPACE}"
PLAIN = {"parse_math": False}  # how Axes.text takes words as they are: a class may be named $x$


@lru_cache(maxsize=4096)
def width_of(text: str, size: float) -> float:
    """Return the width in pixels of one line of `text` at `size` points."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that no font has: saving the figure says so
        width, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)
    return width * DPI / 72


def height_of(size: float) -> float:
    """Return the height in pixels of a line at `size` points, its distance to the next included."""
    return 1.25 * size * DPI / 72


def printable(text: str) -> str:
    """Return `text` on one line: control characters and runs of white space are one space."""
    return re.sub(" +", " ", "".join(c if c.isprintable() or c == NO_BREAK else " " for c in text)).strip(" ")


def shortened(text: str, size: float, width: float) -> str:
    """Return `text`, or as much of it as fits into `width` pixels with an ellipsis behind it."""
    text = printable(text)
    if width_of(text, size) <= width:
        return text
    kept = len(text)
    while kept > 1 and width_of(text[:kept] + ELLIPSIS, size) > width:
        kept -= 1
    return text[:kept] + ELLIPSIS


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Return `text` in lines of at most `width` pixels, broken at spaces; a longer word is shortened.

    No line ends within "ε = 4" or "RMS 0.25".
    """
    kept = printable(text)
    for bound in (" = ", "RMS "):
        kept = kept.replace(bound, bound.replace(" ", NO_BREAK))
    lines = [""]
    for word in kept.split(" "):
        longer = f"{lines[-1]} {word}".lstrip(" ")
        if lines[-1] and width_of(longer, size) > width:
            lines.append(shortened(word, size, width))
        else:
            lines[-1] = longer if width_of(longer, size) <= width else shortened(longer, size, width)
    return lines
