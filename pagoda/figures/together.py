"""Which ascents belong together in one figure, and in which place of it each stands."""

from pathlib import Path

import numpy as np

from pagoda.data.ascents import Ascent, read_ascent
from pagoda.data.views import View
from pagoda.errors import BadInput


def read_ascents(paths: tuple[Path, ...]) -> list[Ascent]:
    """Read ascents of one dataset. Raises BadInput where one is missing, or their classes differ."""
    ascents = [read_ascent(path) for path in paths]
    if len(classes := {ascent.settings.classes for ascent in ascents}) > 1:
        raise BadInput(f"the ascents are of different datasets: their classes are {sorted(classes)}")
    return ascents


def tabulate(ascents: list[Ascent], column: str, words: str) -> tuple[dict[View, list[Ascent]], list]:
    """Return rows by view, each with one ascent a column, and the columns: values of the setting `column`.

    Raises BadInput, which calls them `words`, where two ascents have one place, or a place has none.
    """
    cells = {(a.settings.view, getattr(a.settings, column)): a for a in ascents}
    views, columns = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    if not len(ascents) == len(cells) == len(views) * len(columns):
        raise BadInput(
            f"{len(ascents)} ascents do not make a table of {len(views)} views by {len(columns)} {words}: each place "
            "needs one"
        )
    return {view: [cells[view, name] for name in columns] for view in views}, columns


def same(ascents: list[Ascent], name: str, words: str) -> object:
    """Return the value that all ascents have of the setting `name`. Raises BadInput where they differ."""
    values = sorted({getattr(ascent.settings, name) for ascent in ascents})
    if len(values) > 1:
        raise BadInput(f"this figure is of {words}, but the ascents have {name} {', '.join(map(str, values))}")
    return values[0]


def from_the_same(ascents: list[Ascent]) -> None:
    """Check that all ascents start from the same images. Raises BadInput where they do not."""
    for ascent in ascents[1:]:
        if not np.array_equal(ascent.index, ascents[0].index):
            one, other = (a.settings.view.label for a in (ascents[0], ascent))
            raise BadInput(
                f"one row of sources cannot stand for both {one} and {other}: they start from different images"
            )


def same_steps(ascents: list[Ascent]) -> np.ndarray:
    """Return after which steps the ascents keep frames. Raises BadInput where they differ in that."""
    found = ascents[0].frame_steps
    if any(not np.array_equal(ascent.frame_steps, found) for ascent in ascents):
        raise BadInput("the ascents keep frames after different numbers of steps: this figure needs the same")
    return found


def evenly(count: int, most: int) -> np.ndarray:
    """Return which of `count` frames to show: `most` at most, the first and the last among them.

    All equally far apart where that leaves more than half of `most`, else nearly so.
    """
    gaps = next((n for n in range(most - 1, most // 2, -1) if (count - 1) % n == 0), most - 1)
    return np.unique(np.linspace(0, count - 1, gaps + 1).round().astype(int))


def p_after(ascent: Ascent, done: int) -> np.ndarray:
    """Return p_t of each source, [K], after `done` steps: from fresh draws at both ends, else from the step's."""
    if done == 0:
        return ascent.p_before
    return ascent.p_path[done] if done < len(ascent.p_path) else ascent.p_after
