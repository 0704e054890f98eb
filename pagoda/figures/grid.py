"""Pictures in rows and columns, pixel by pixel, with labels, headings, a title above and a caption below.

Upscaling is nearest-neighbour only: each pixel is a square. Notes stand below the corners of their picture, so that
nothing hides it. All lengths are pixels at the figures' DPI.
"""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pagoda.errors import BadInput
from pagoda.figures.style import DPI, SIZES, plt
from pagoda.figures.text import ELLIPSIS, PLAIN, height_of, printable, shortened, width_of, wrapped

CELLS = (96, 160)
"""Sides of a picture, about: where there are many columns, and where there are few; never below its own side."""
BODY = (1040, 1400)
"""Width and height that pictures fill together where that leaves them within CELLS: a page's text, about."""
GAP = 8
APART = 6  # how much further apart columns stand whose notes would else meet
MARGIN = 16
LABEL = 250  # width that a row's label gets at most
STRIPE = 8  # width of the stripe of a row's colour
BOLD = 1.2  # how much wider bold letters are, at most
NARROWEST = 620  # width of the narrowest figure
BAR = (360, 22)  # width and height of a key's bar


@dataclass(frozen=True)
class Row:
    """A row of pictures, [C, H, W] in [0, 1], with notes below their left and right corners ("" for none).

    `colour` marks what the row shows, e.g. that of its view; `space` is the air above it.
    """

    label: str
    pictures: list[np.ndarray]
    left: list[str] | None = None
    right: list[str] | None = None
    colour: str | None = None
    space: int = 0


@dataclass(frozen=True)
class Key:
    """What colours mean: a bar of `colours`, uint8 [n, 3], with `ends` below its left end, middle and right end."""

    name: str
    colours: np.ndarray
    ends: tuple[str, str, str]


@dataclass(frozen=True)
class Sheet:
    """A figure, and the free box beside its pictures: (left, bottom, width, height) in fractions of the figure."""

    figure: Figure
    free: tuple[float, float, float, float]


def scale_of(side: int, columns: int, rows: int, *, beside: int = 0) -> int:
    """Return how many pixels a side a picture's pixel takes, where pictures are `side` pixels wide or high.

    `beside` is the width that other things take.
    """
    width = (BODY[0] - beside) / columns
    return max(1, round(min(max(min(width, BODY[1] / rows), CELLS[0]), CELLS[1]) / side))


def draw_grid(
    rows: list[Row], columns: list[str], title: str, text: str, *, beside: int = 0, key: Key | None = None
) -> Sheet:
    """Draw rows of pictures under the headings `columns`, `title` above, key and `text` below, `beside` pixels free.

    Raises BadInput where the pictures are not all of one height and width.
    """
    shapes = {picture.shape[-2:] for row in rows for picture in row.pictures}
    if len(shapes) > 1:
        raise BadInput(f"pictures of {' and '.join(map(str, sorted(shapes)))} do not fit into one figure")
    height, width = shapes.pop()
    scale = scale_of(max(height, width), len(columns), len(rows), beside=beside)
    cell = np.array([width * scale, height * scale])
    pitch = cell[0] + GAP + (APART if any(row.right for row in rows) else 0)
    labels = [wrapped(row.label, SIZES["label"], LABEL) for row in rows]
    heads, head_size = _headings(columns, pitch - 2)
    left = int(2 * MARGIN + STRIPE + max(width_of(line, SIZES["label"]) for lines in labels for line in lines))
    body_w = left + (len(columns) - 1) * pitch + cell[0]
    total_w = int(max(body_w + beside + MARGIN, NARROWEST, left + BAR[0] + MARGIN if key else 0))
    titles = wrapped(title, SIZES["title"], (total_w - 2 * MARGIN) / BOLD)
    top = int(MARGIN + len(titles) * height_of(SIZES["title"]) + max(map(len, heads)) * height_of(head_size) + 10)
    tops, bottom = [], top
    for row in rows:
        tops.append(bottom + row.space)
        noted = any([*(row.left or ()), *(row.right or ())])
        bottom = int(tops[-1] + cell[1] + GAP + (height_of(SIZES["note"]) + 3 if noted else 0))
    keyed = bottom + MARGIN
    bottom += MARGIN + BAR[1] + int(height_of(SIZES["note"])) if key else 0
    lines = wrapped(text, SIZES["note"], total_w - 2 * MARGIN)
    total_h = int(bottom + MARGIN + len(lines) * height_of(SIZES["note"]) + MARGIN)

    figure = plt.figure(figsize=(total_w / DPI, total_h / DPI), dpi=DPI)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, total_w), ylim=(total_h, 0))
    axes.set_axis_off()
    _write(axes, titles, (MARGIN, MARGIN), SIZES["title"], weight="bold")
    for number, head in enumerate(heads):
        x = left + number * pitch + cell[0] / 2
        _write(axes, head, (x, top - 6 - len(head) * height_of(head_size)), head_size, ha="center")
    canvas = np.full((total_h, total_w, 3), 255, np.uint8)
    for row, label, y in zip(rows, labels, tops, strict=True):
        start = y + (cell[1] - len(label) * height_of(SIZES["label"])) / 2
        _write(axes, label, (left - STRIPE - MARGIN // 2, start), SIZES["label"], ha="right")
        if row.colour:
            canvas[y : y + cell[1], left - STRIPE - 3 : left - 3] = list(bytes.fromhex(row.colour[1:]))
        for number, picture in enumerate(row.pictures):
            x = int(left + number * pitch)
            canvas[y : y + cell[1], x : x + cell[0]] = enlarged(picture, scale)
            right = row.right[number] if row.right else ""
            room = cell[0] - (width_of(right, SIZES["note"]) + GAP if right else 0)
            note = shortened(row.left[number], SIZES["note"], room) if row.left else ""
            for words, place, side in ((note, x, "left"), (right, x + cell[0], "right")):
                _write(axes, [words] if words else [], (place, y + cell[1] - 1), SIZES["note"], ha=side)
    if key:
        _draw_key(axes, canvas, key, left, keyed)
    _write(axes, lines, (MARGIN, bottom + MARGIN), SIZES["note"], color="#333333")
    # As it is: a PDF or an SVG holds these very pixels and says that they are squares.
    axes.imshow(canvas, extent=(0, total_w, total_h, 0), interpolation="none", aspect="auto", zorder=-1)
    free = body_w / total_w, 1 - bottom / total_h, (total_w - MARGIN - body_w) / total_w, (bottom - top) / total_h
    return Sheet(figure, free)


def enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """[C, H, W] in [0, 1], one channel or three -> [scale * H, scale * W, 3], 8 bits, each pixel a square."""
    coloured = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
    return (coloured.clip(0, 1) * 255).round().astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)


def pixels_of(figure: Figure) -> np.ndarray:
    """Return what a figure looks like, [H, W, 3], 8 bits, at the figures' DPI. Closes it."""
    figure.set_dpi(DPI)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[:, :, :3].copy()
    plt.close(figure)
    return pixels


def caption_below(figure: Figure, text: str) -> float:
    """Write `text` below a figure and return the fraction of its height that the text takes."""
    width, height = figure.get_size_inches() * DPI
    lines = wrapped(text, SIZES["note"], width - 2 * MARGIN)
    taken = len(lines) * height_of(SIZES["note"]) + MARGIN
    for number, line in enumerate(lines):
        y = (taken - number * height_of(SIZES["note"])) / height
        figure.text(MARGIN / width, y, line, fontsize=SIZES["note"], color="#333333", va="top", **PLAIN)
    return (taken + MARGIN / 2) / height


def _headings(names: list[str], width: float) -> tuple[list[list[str]], float]:
    # In the smaller size where a word would not fit in the larger, and wider than its column between short ones.
    heads = [wrapped(name, SIZES["label"], width)[:3] for name in names]
    if not any(line.endswith(ELLIPSIS) for head in heads for line in head):
        return heads, SIZES["label"]
    taken = [width, *(min(width, width_of(printable(name), SIZES["note"])) for name in names), width]
    rooms = [2 * width - max(before, after) for before, after in zip(taken, taken[2:], strict=False)]
    return [wrapped(n, SIZES["note"], room)[:3] for n, room in zip(names, rooms, strict=True)], SIZES["note"]


def _draw_key(axes: Axes, canvas: np.ndarray, key: Key, x: int, y: int) -> None:
    wide, high = BAR
    places = np.linspace(0, len(key.colours) - 1, wide).round().astype(int)
    canvas[y : y + high, x : x + wide] = key.colours[places]
    _write(axes, [key.name], (x - MARGIN // 2, y - 3), SIZES["note"], ha="right")
    for words, part, side in zip(key.ends, (0, 0.5, 1), ("left", "center", "right"), strict=True):
        _write(axes, [words], (x + part * wide, y + high), SIZES["note"], ha=side)


def _write(axes: Axes, lines: list[str], place: tuple[float, float], size: float, **style) -> None:
    x, y = place
    for number, line in enumerate(lines):
        baseline = y + (number + 0.8) * height_of(size)
        axes.text(x, baseline, line, fontsize=size, va="baseline", **PLAIN, **style)
