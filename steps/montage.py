"""montage: ascents -> one picture to look at.

headline   rows: the first source, then each view; columns: target classes; one epsilon
eps        the same for several sources, one block below the other
class      rows: sources, then each view at each epsilon; columns: sources; one target class

Upscaling is nearest-neighbour only. The number in a corner is p_t, estimated from fresh draws.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.patheffects import withStroke

from steps.data.ascents import Ascent, read_ascent
from steps.run.command import main, option
from steps.run.errors import BadInput
from steps.run.figure import DPI, plt, save_figure
from steps.run.log import logger

KINDS = ("headline", "eps", "class")
BLOCKS = 3
"""How many sources the eps montage shows."""
CELL = 80
"""Pixels a side that a picture takes at least."""
GAP = 4
MARGIN = 10
CHARACTER = 6.8
"""Width of a character of labels and captions, in pixels, at most."""


@dataclass(frozen=True)
class Config:
    """Put ascents side by side."""

    kind: str = option(f"one of {', '.join(KINDS)}")
    ascents: tuple[Path, ...] = option("files that the ascend step wrote; their order is that of the views")
    out: Path = option("where the PNG goes")


@dataclass(frozen=True)
class Row:
    """A row of pictures, [C, H, W] in [0, 1], each with a note for its corner; `space` pixels of air above it."""

    label: str
    pictures: list[np.ndarray]
    notes: list[str]
    space: int = 0


def run(config: Config) -> None:
    """Draw the montage. Raises BadInput where an ascent is missing, or the ascents do not belong together."""
    if config.kind not in KINDS:
        raise BadInput(f"montage kind {config.kind!r} is unknown: choose from {', '.join(KINDS)}")
    if not config.ascents:
        raise BadInput("no ascents: a montage needs at least one")
    ascents = [read_ascent(path) for path in config.ascents]
    classes = {ascent.settings.classes for ascent in ascents}
    if len(classes) > 1:
        raise BadInput(f"the ascents are of different datasets: their classes are {sorted(classes)}")
    if config.kind == "class":
        rows, columns, title = by_class(ascents)
    else:
        rows, columns, title = by_epsilon(ascents, blocks=1 if config.kind == "headline" else BLOCKS)
    draw(rows, columns, title, caption(ascents), config.out)
    logger.info("wrote %s: %d rows of %d pictures", config.out, len(rows), len(columns))


def by_epsilon(ascents: list[Ascent], blocks: int) -> tuple[list[Row], list[str], str]:
    """Return rows (source, then each view) for each of the first `blocks` sources; columns are target classes."""
    views = list(dict.fromkeys(ascent.settings.view for ascent in ascents))
    targets = list(dict.fromkeys(ascent.settings.target for ascent in ascents))
    cells = {(ascent.settings.view, ascent.settings.target): ascent for ascent in ascents}
    at_one_epsilon = len({ascent.settings.epsilon for ascent in ascents}) == 1
    if not at_one_epsilon or len(cells) != len(ascents) or len(cells) != len(views) * len(targets):
        raise BadInput(
            f"{len(ascents)} ascents do not make a table of {len(views)} views by {len(targets)} classes: each view "
            "needs one ascent a class, all at one epsilon"
        )
    rows = []
    for block in range(min(blocks, *(len(ascent.source) for ascent in ascents))):
        first = [cells[views[0], target] for target in targets]
        rows.append(
            Row(
                "source",
                [ascent.source[block] for ascent in first],
                [ascent.settings.classes[ascent.label[block]] for ascent in first],
                space=0 if block == 0 else 4 * GAP,
            )
        )
        for view in views:
            line = [cells[view, target] for target in targets]
            rows.append(Row(view, [a.end[block] for a in line], [f"{a.p_after[block]:.2f}" for a in line]))
    epsilon, rms = ascents[0].settings.epsilon, ascents[0].rms
    return (
        rows,
        [f"→ {target}" for target in targets],
        f"Ascent towards each class, ε = {epsilon:g} (RMS {rms:.2f})",
    )


def by_class(ascents: list[Ascent]) -> tuple[list[Row], list[str], str]:
    """Return rows (sources, then each view at each epsilon); columns are the sources."""
    first = ascents[0]
    target = first.settings.target
    if any(ascent.settings.target != target or len(ascent.end) != len(first.end) for ascent in ascents):
        raise BadInput("a class montage needs ascents of one target class from the same number of sources")
    names = [first.settings.classes[label] for label in first.label]
    rows = [Row("source", list(first.source), names)]
    for ascent in ascents:
        new_view = ascent.settings.view != rows[-1].label.partition(", ε")[0]
        label = f"{ascent.settings.view}, ε = {ascent.settings.epsilon:g}"
        notes = [f"{p:.2f}" for p in ascent.p_after]
        rows.append(Row(label, list(ascent.end), notes, space=2 * GAP if new_view else 0))
    return rows, [f"image #{index}" for index in first.index], f"Ascent towards {target}"


def caption(ascents: list[Ascent]) -> str:
    """Return what was done, with every value that decides it."""
    settings = [ascent.settings for ascent in ascents]

    def values(of) -> str:
        return ", ".join(f"{value:g}" for value in sorted({of(ascent) for ascent in ascents}))

    smoothed = [ascent for ascent in ascents if ascent.settings.sigma]
    models = dict.fromkeys(f"{s.model} {s.model_hash}" for s in settings)
    sentences = [
        f"Targeted L2 ascent on log p_t, ε = {values(lambda a: a.settings.epsilon)} in pixel values "
        f"(RMS per pixel ε/√d = {values(lambda a: round(a.rms, 3))}), "
        f"{values(lambda a: a.settings.steps)} steps of {values(lambda a: a.settings.step)}, "
        f"seed {values(lambda a: a.settings.seed)}.",
    ]
    if smoothed:
        draws, checks = (", ".join(sorted({f"{getattr(a.settings, name):g}" for a in smoothed})) for name in _DRAWS)
        sigmas = ", ".join(sorted({f"{a.settings.sigma:g}" for a in smoothed}))
        sentences.append(
            f"Smoothed with σ = {sigmas}: N = {draws} fresh noise draws a step; p_t in the corner from {checks} others."
        )
    sentences.append(f"Sources: the first test images of other classes. Models: {'; '.join(models)}.")
    return " ".join(sentences)


_DRAWS = ("draws", "check_draws")


def draw(rows: list[Row], columns: list[str], title: str, text: str, out: Path) -> None:
    """Draw rows of pictures with labels, column headings, a title above and `text` below, pixel by pixel, to a PNG."""
    height, width = rows[0].pictures[0].shape[1:]
    scale = max(1, -(-CELL // max(height, width)))
    cell_h, cell_w = height * scale, width * scale
    left = MARGIN + 16 + int(CHARACTER * max(len(line) for row in rows for line in _wrapped(row.label)))
    top = 58
    body_w = len(columns) * (cell_w + GAP) - GAP
    body_h = sum(cell_h + GAP + row.space for row in rows) - GAP
    total_w = max(left + body_w + MARGIN, 640)
    lines = textwrap.wrap(text, int((total_w - 2 * MARGIN) / CHARACTER))
    total_h = top + body_h + 24 + 15 * len(lines)

    canvas = np.ones((total_h, total_w, 3), np.float32)
    figure = plt.figure(figsize=(total_w / DPI, total_h / DPI))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set(xlim=(0, total_w), ylim=(total_h, 0))
    plain = {"parse_math": False}  # a class may be named $x$
    corner = {
        **plain,
        "fontsize": 8,
        "color": "white",
        "va": "bottom",
        "path_effects": [withStroke(linewidth=2, foreground="black")],
    }
    axes.text(MARGIN, 22, title, fontsize=13, weight="bold", va="center", **plain)
    for number, name in enumerate(columns):
        shown = textwrap.shorten(name, max(8, int(cell_w / 6.2)), placeholder="…")
        axes.text(
            left + number * (cell_w + GAP) + cell_w / 2, top - 6, shown, fontsize=9, ha="center", va="bottom", **plain
        )
    y = top
    for row in rows:
        y += row.space
        axes.text(
            left - 8, y + cell_h / 2, "\n".join(_wrapped(row.label)), fontsize=9, ha="right", va="center", **plain
        )
        for number, (picture, note) in enumerate(zip(row.pictures, row.notes, strict=True)):
            x = left + number * (cell_w + GAP)
            canvas[y : y + cell_h, x : x + cell_w] = _enlarged(picture, scale)
            axes.text(x + 2, y + cell_h - 1, note, **corner)
        y += cell_h + GAP
    for number, line in enumerate(lines):
        axes.text(MARGIN, top + body_h + 22 + 15 * number, line, fontsize=8, color="#444444", va="center", **plain)
    axes.imshow(canvas, extent=(0, total_w, total_h, 0), interpolation="nearest", aspect="auto", zorder=-1)
    save_figure(figure, out)


def _wrapped(label: str) -> list[str]:
    # No line ends within "ε = 4".
    return textwrap.wrap(label.replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}"), 20) or [""]


def _enlarged(picture: np.ndarray, scale: int) -> np.ndarray:
    """[C, H, W] in [0, 1], one channel or three -> [scale * H, scale * W, 3], each pixel a square."""
    coloured = np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)
    return coloured.repeat(scale, axis=0).repeat(scale, axis=1).clip(0, 1)


if __name__ == "__main__":
    main("montage", Config, run)
