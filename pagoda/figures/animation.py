"""Ascents of one class at one epsilon as an animation: each view's way from the same sources.

Rows are views, columns the first sources. Lossless: every frame holds the kept pictures as they are, upscaled to the
nearest neighbour. It loops, and stays at the end for a while.
"""

import io

import numpy as np
from PIL import Image

from pagoda.data.ascents import Ascent
from pagoda.errors import BadInput
from pagoda.figures.captions import P, at, made_by
from pagoda.figures.designs import from_the_same, same, tabulate
from pagoda.figures.grid import Row, draw_grid, pixels_of
from pagoda.figures.looks import name_of, view_colour

SOURCES = 6  # how many sources are shown at most
FIRST, BETWEEN, LAST = 800, 250, 2500  # how long frames are shown, milliseconds


def animated(ascents: list[Ascent]) -> bytes:
    """Return the animated PNG. Raises BadInput where the ascents do not belong together."""
    same(ascents, "target", "one target class")
    same(ascents, "epsilon", "one epsilon")
    tabulate(ascents, "target", "classes")
    steps = ascents[0].frame_steps
    if any(not np.array_equal(ascent.frame_steps, steps) for ascent in ascents):
        raise BadInput("the ascents keep frames after different numbers of steps: an animation needs the same")
    from_the_same(ascents)
    frames = [Image.fromarray(frame(ascents, number)) for number in range(len(steps))]
    durations = [FIRST, *[BETWEEN] * (len(frames) - 2), LAST][-len(frames) :]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return buffer.getvalue()


def frame(ascents: list[Ascent], number: int) -> np.ndarray:
    """Return frame `number` of the animation: [H, W, 3], 8 bits."""
    first = ascents[0]
    shown = range(min(SOURCES, len(first.source)))
    done = int(first.frame_steps[number])
    rows = []
    for ascent in ascents:
        notes = [f"{p_after(ascent, done)[k]:.2f}" for k in shown]
        pictures = [ascent.frames[number, k] / 255 for k in shown]
        view = ascent.settings.view
        rows.append(Row(name_of(view), pictures, notes, colour=view_colour(view.model, view.sigma)))
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
