"""Ascents of one class at one epsilon as an animation: each view's way from the same sources.

Rows are views, columns the first sources. Lossless: every frame holds the kept pictures as they are, upscaled to the
nearest neighbour. It loops, and stays at the end for a while; a viewer that shows no animations shows the end.
"""

import io

import numpy as np
from PIL import Image

from pagoda.data.ascents import Ascent
from pagoda.figures.captions import about_frames, at, made_by
from pagoda.figures.grid import Row, draw_grid, pixels_of
from pagoda.figures.looks import name_of, view_colour
from pagoda.figures.together import from_the_same, p_after, same, same_steps, tabulate

SOURCES = 6  # how many sources are shown at most
FIRST, BETWEEN, LAST = 800, 250, 2500  # how long frames are shown, milliseconds


def animated(ascents: list[Ascent]) -> bytes:
    """Return the animated PNG. Raises BadInput where the ascents do not belong together."""
    same(ascents, "target", "one target class")
    same(ascents, "epsilon", "one epsilon")
    tabulate(ascents, "target", "classes")
    from_the_same(ascents)
    frames = [Image.fromarray(frame(ascents, number)) for number in range(len(same_steps(ascents)))]
    durations = [FIRST, *[BETWEEN] * (len(frames) - 2), LAST][-len(frames) :]
    buffer = io.BytesIO()
    still = {"default_image": True, "append_images": frames}
    frames[-1].save(buffer, "PNG", save_all=True, duration=durations, loop=0, **still)
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
    text = f"{about_frames()} {made_by(ascents)}"
    title = f"Ascent towards {first.settings.target}, {at(first)}: step {done} of {first.settings.steps}"
    return pixels_of(draw_grid(rows, [f"image #{first.index[k]}" for k in shown], title, text).figure)
