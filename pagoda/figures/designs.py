"""The montages: which picture of which ascent stands where.

headline   rows: the first source, then each view; columns: target classes; one epsilon
eps        the same for several sources, one block below the other
class      rows: sources, then each view at each epsilon; columns: sources; one target class
ladder     rows: views, below each the change, amplified; columns: epsilons; the first source, one target class
sweep      rows: sigmas; columns: N, noise draws a step; the first source, one target class
synthesis  rows: seeds and ends of each view that starts from no picture; columns: target classes
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pagoda.data.ascents import Ascent, read_ascent
from pagoda.errors import BadInput
from pagoda.figures.captions import about_notes, at, made_by
from pagoda.figures.grid import GAP, Row
from pagoda.figures.style import view_colour
from pagoda.figures.verdicts import Verdicts, verdict

BLOCKS = 3
"""How many sources the eps montage shows."""
SOURCES = 8
"""How many sources the class montage shows at most."""
AMPLIFIED = 5
"""By how much the ladder amplifies a change."""
PANEL = 3
"""How many views of the ladder stand below each other, before the next stand beside them."""


@dataclass(frozen=True)
class Montage:
    """What a montage shows; `columns` are the headings."""

    rows: list[Row]
    columns: list[str]
    title: str
    caption: str


@dataclass(frozen=True)
class Table:
    """Ascents in rows and columns: cells[row, column], each there."""

    rows: list
    columns: list
    cells: dict[tuple, Ascent] = field(repr=False)

    def row(self, name: object) -> list[Ascent]:
        """Return the ascents of a row, from left to right."""
        return [self.cells[name, column] for column in self.columns]


def read_ascents(paths: tuple[Path, ...]) -> list[Ascent]:
    """Read ascents of one dataset. Raises BadInput where there are none, one is missing, or their classes differ."""
    if not paths:
        raise BadInput("no ascents: a montage needs at least one")
    ascents = [read_ascent(path) for path in paths]
    if len(classes := {ascent.settings.classes for ascent in ascents}) > 1:
        raise BadInput(f"the ascents are of different datasets: their classes are {sorted(classes)}")
    return ascents


def tabulate(ascents: list[Ascent], row: Callable, column: Callable, words: tuple[str, str]) -> Table:
    """Return the ascents as a table; `row` and `column` give an ascent's place, `words` name them in the error.

    Raises:
        BadInput: where two ascents have one place, or a place has none.

    """
    rows, columns = (list(dict.fromkeys(place(ascent) for ascent in ascents)) for place in (row, column))
    cells = {(row(ascent), column(ascent)): ascent for ascent in ascents}
    if not len(ascents) == len(cells) == len(rows) * len(columns):
        raise BadInput(
            f"{len(ascents)} ascents do not make a table of {len(rows)} {words[0]} by {len(columns)} {words[1]}: each "
            "place needs one"
        )
    return Table(rows, columns, cells)


def by_target(ascents: list[Ascent], verdicts: Verdicts, blocks: int) -> Montage:
    """Return rows (source, then each view) for each of the first `blocks` sources; columns are target classes."""
    _same(ascents, "epsilon", "an epsilon")
    table = tabulate(ascents, _view, _target, ("views", "classes"))
    sources = table.row(table.rows[0])
    for view in table.rows:
        _from_the_same(zip(sources, table.row(view), strict=True))
    rows = []
    for k in range(min(blocks, *(len(ascent.source) for ascent in ascents))):
        pictures, labels = [a.source[k] for a in sources], [_label(a, k) for a in sources]
        rows.append(Row("source", pictures, labels, space=4 * GAP if k else 0))
        rows += [_ends(view, [(a, k) for a in table.row(view)], verdicts) for view in table.rows]
    title = f"Ascent towards each class, {at(ascents[0])}"
    text = f"{about_notes(ascents, bool(verdicts))} {made_by(ascents)}"
    return Montage(rows, table.columns, title, text)


def by_source(ascents: list[Ascent], verdicts: Verdicts) -> Montage:
    """Return rows (sources, then each view at each epsilon); columns are the first sources, SOURCES at most."""
    target = _same(ascents, "target", "one target class")
    first = ascents[0]
    _from_the_same((first, ascent) for ascent in ascents)
    shown = range(min(SOURCES, len(first.source)))
    rows = [Row("source", [first.source[k] for k in shown], [_label(first, k) for k in shown])]
    for before, ascent in zip([None, *ascents], ascents, strict=False):
        new = before is None or before.settings.view != ascent.settings.view
        label = f"{ascent.settings.view}, ε = {ascent.settings.epsilon:g}"
        rows.append(_ends(label, [(ascent, k) for k in shown], verdicts, space=2 * GAP if new else 0))
    text = f"{about_notes(ascents, bool(verdicts))} {made_by(ascents)}"
    return Montage(rows, [f"image #{first.index[k]}" for k in shown], f"Ascent towards {target}", text)


def ladder(ascents: list[Ascent], verdicts: Verdicts) -> Montage:
    """Return rows (each view, below it its change) at rising epsilons, from the first source, which stands at 0."""
    target = _same(ascents, "target", "one target class")
    table = tabulate(sorted(ascents, key=lambda a: a.settings.epsilon), _view, _epsilon, ("views", "epsilons"))
    _from_the_same((ascents[0], ascent) for ascent in ascents)
    rows = []
    for number, view in enumerate(dict.fromkeys(map(_view, ascents))):
        panel, line = number // PANEL, table.row(view)
        ends = _ends(view, [(a, 0) for a in line], verdicts, space=2 * GAP if number % PANEL else 0)
        pictures, notes = [line[0].source[0], *ends.pictures], [_label(line[0], 0), *ends.left]
        rows.append(replace(ends, pictures=pictures, left=notes, right=ends.right and ["", *ends.right], panel=panel))
        pairs = [(line[0].source[0], line[0].source[0]), *((a.source[0], a.end[0]) for a in line)]
        norms = ["", *(f"‖δ‖ {a.norm[0]:.2f}" for a in line)]
        changes = [amplified(*pair) for pair in pairs]
        rows.append(Row(f"its change, {AMPLIFIED}×", changes, norms, colour=ends.colour, panel=panel))
    text = (
        f"Below each view: the change δ of every pixel, amplified {AMPLIFIED}× around mid-grey (no change) and "
        f"clipped, and its length. {about_notes(ascents, bool(verdicts))} {made_by(ascents)}"
    )
    heads = [f"ε = {a.settings.epsilon:g}, RMS {a.rms:.2g}" for a in table.row(table.rows[0])]
    return Montage(rows, ["source", *heads], f"From one image towards {target}, at rising ε", text)


def sweep(ascents: list[Ascent], verdicts: Verdicts) -> Montage:
    """Return rows (each smoothed model) by numbers of draws N, from the first source, which stands before them."""
    target = _same(ascents, "target", "one target class")
    _same(ascents, "epsilon", "one epsilon")
    _from_the_same((ascents[0], ascent) for ascent in ascents)
    table = tabulate(ascents, _view, lambda a: a.settings.draws, ("views", "numbers of draws"))
    rows = []
    for view in table.rows:
        line = table.row(view)
        ends = _ends(view, [(a, 0) for a in line], {})
        cosines = ["", *(f"cos {a.split_half[0]:.2f}" for a in line)]
        pictures, notes = [line[0].source[0], *ends.pictures], [_label(line[0], 0), *ends.left]
        rows.append(replace(ends, pictures=pictures, left=notes, right=cosines))
    text = (
        f"{about_notes(ascents, False)[:-1]}; right: split-half cosine, that of two independent estimates of the "
        f"gradient at the source, each from N draws. {made_by(ascents, draws=False)}"
    )
    return Montage(
        rows,
        ["source", *(f"N = {n}" for n in table.columns)],
        f"What σ and N do, towards {target}, {at(ascents[0])}",
        text,
    )


def synthesis(ascents: list[Ascent], verdicts: Verdicts) -> Montage:
    """Return two rows a view that starts from no picture: its seeds, and what becomes of them; columns are classes."""
    if known := [a.settings.view for a in ascents if a.settings.start == "images"]:
        raise BadInput(f"the synthesis shows views that start from seeds or noise, but {known[0]!r} starts from images")
    _same(ascents, "epsilon", "one epsilon")
    table = tabulate(ascents, _view, _target, ("views", "classes"))
    rows = []
    for view in table.rows:
        line = table.row(view)
        colour, start = _colour(line[0]), line[0].settings.start
        rows.append(Row(start, [a.source[0] for a in line], colour=colour, space=3 * GAP if rows else 0))
        rows.append(_ends(view, [(a, 0) for a in line], verdicts))
    text = f"{about_notes(ascents, bool(verdicts))} {made_by(ascents)}"
    title = f"Each class from no picture, {at(ascents[0])}"
    return Montage(rows, table.columns, title, text)


def amplified(source: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the change from `source` to `end`, AMPLIFIED times, around mid-grey and clipped to [0, 1]."""
    return (0.5 + AMPLIFIED * (end.astype(np.float64) - source)).clip(0, 1)


def _ends(label: str, cells: list[tuple[Ascent, int]], verdicts: Verdicts, space: int = 0) -> Row:
    pictures = [ascent.end[k] for ascent, k in cells]
    left = [f"{ascent.p_after[k]:.2f}" for ascent, k in cells]
    right = [verdict(verdicts, ascent, k) for ascent, k in cells] if verdicts else None
    return Row(label, pictures, left, right, _colour(cells[0][0]), space)


def _same(ascents: list[Ascent], name: str, what: str) -> object:
    values = sorted({getattr(ascent.settings, name) for ascent in ascents})
    if len(values) > 1:
        raise BadInput(f"this montage is of {what}, but the ascents have {name} {', '.join(map(str, values))}")
    return values[0]


def _from_the_same(pairs: Iterable[tuple[Ascent, Ascent]]) -> None:
    for one, other in pairs:
        if not np.array_equal(one.index, other.index):
            raise BadInput(
                f"one row of sources cannot stand for both {one.settings.view} and {other.settings.view}: they start "
                "from different images"
            )


def _view(ascent: Ascent) -> str:
    return ascent.settings.view


def _target(ascent: Ascent) -> str:
    return ascent.settings.target


def _epsilon(ascent: Ascent) -> float:
    return ascent.settings.epsilon


def _colour(ascent: Ascent) -> str:
    return view_colour(ascent.settings.model, ascent.settings.sigma)


def _label(ascent: Ascent, k: int) -> str:
    number = ascent.label[k]
    return ascent.settings.classes[number] if number >= 0 else ""
