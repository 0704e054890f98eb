"""animation: ascents of one class at one epsilon -> an animated PNG (APNG): each view's way from the same sources.

Rows are views, columns the first sources. Lossless: every frame holds the kept pictures as they are, upscaled to the
nearest neighbour. It loops, and stays at the end for a while.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from pagoda.data.ascents import Ascent
from pagoda.errors import BadInput
from pagoda.figures.captions import P, at, made_by
from pagoda.figures.designs import read_ascents, tabulate
from pagoda.figures.grid import Row, draw_grid, pixels_of
from pagoda.figures.style import view_colour
from pagoda.files import write_bytes
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main

SOURCES = 6
"""How many sources are shown at most."""
FIRST, BETWEEN, LAST = 800, 250, 2500
"""How long frames are shown, milliseconds."""


class Config(Options):
    """Play ascents as an animated PNG."""

    ascents: tuple[Path, ...] = option("files that the ascend step wrote, of one class and epsilon, in order of views")
    out: Path = option("where the animated PNG goes")


def run(config: Config) -> None:
    """Draw the animation. Raises BadInput where an ascent is missing, or the ascents do not belong together."""
    if config.out.suffix != ".png":
        raise BadInput(f"an animation cannot be written to {config.out}: its suffix must be .png")
    ascents = read_ascents(config.ascents)
    table = tabulate(
        ascents, lambda a: a.settings.view, lambda a: (a.settings.target, a.settings.epsilon), ("views", "goals")
    )
    if len(table.columns) > 1:
        goals = "; ".join(f"{target!r} at {epsilon:g}" for target, epsilon in table.columns)
        raise BadInput(f"an animation is of one class at one epsilon, but the ascents are towards {goals}")
    first = ascents[0]
    if any(not np.array_equal(a.frame_steps, first.frame_steps) for a in ascents):
        raise BadInput("the ascents keep frames after different numbers of steps: an animation needs the same")
    if any(not np.array_equal(a.index, first.index) for a in ascents):
        raise BadInput("an animation needs ascents from the same sources")
    frames = [Image.fromarray(frame(ascents, number)) for number in range(len(first.frame_steps))]
    durations = [FIRST, *[BETWEEN] * (len(frames) - 2), LAST][-len(frames) :]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    write_bytes(config.out, buffer.getvalue())
    logger.info("wrote %s: %d frames", config.out, len(frames))


def frame(ascents: list[Ascent], number: int) -> np.ndarray:
    """Return frame `number` of the animation: [H, W, 3], 8 bits."""
    first = ascents[0]
    shown = range(min(SOURCES, len(first.source)))
    done = int(first.frame_steps[number])
    rows = []
    for ascent in ascents:
        notes = [f"{p_after(ascent, done)[k]:.2f}" for k in shown]
        pictures = [ascent.frames[number, k] / 255 for k in shown]
        rows.append(
            Row(ascent.settings.view, pictures, notes, colour=view_colour(ascent.settings.model, ascent.settings.sigma))
        )
    text = (
        f"Below each picture: the model's own {P}; at the start and the end from fresh draws, between from the "
        f"step's. {made_by(ascents)}"
    )
    title = f"Ascent towards {first.settings.target}, {at(first)}: step {done} of {first.settings.steps}"
    return pixels_of(draw_grid(rows, [f"image #{first.index[k]}" for k in shown], title, text).figure)


def p_after(ascent: Ascent, done: int) -> np.ndarray:
    """Return p_t of each source, [K], after `done` steps: from fresh draws at both ends, else from the step's."""
    if done == 0:
        return ascent.p_before
    return ascent.p_path[done] if done < len(ascent.p_path) else ascent.p_after


if __name__ == "__main__":
    main("animation", Config, run)
