"""The montages: which picture of which ascent stands where.

headline   rows: several sources, each with its views below; columns: target classes; one epsilon
controls   the same for the first source
eps        the same as the headline
class      rows: sources, then each view at each epsilon; columns: sources; one target class
ladder     rows: views, below each the change, amplified; columns: epsilons; the first source, one target class
sweep      rows: sigmas; columns: N, noise draws a step; the first source, one target class
ablation   rows: the first source, each model by each score; columns: target classes; one epsilon
synthesis  rows: seeds and ends of each view that starts from no picture; columns: target classes
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pagoda.data.alignments import Rows, row_of
from pagoda.data.ascents import Ascent, read_ascent
from pagoda.data.registry import JUDGES
from pagoda.data.views import View
from pagoda.errors import BadInput
from pagoda.figures.captions import P, about_notes, at, made_by
from pagoda.figures.grid import GAP, Row
from pagoda.figures.looks import name_of, view_colour

BLOCKS = 3  # how many sources the headline and the eps montage show
SOURCES = 8  # how many sources the class montage shows at most
AMPLIFIED = 5  # by how much the ladder amplifies a change
PANEL = 3  # how many views of the ladder stand below each other, before the next stand beside them
AFTER = [f"{judge.name}_after" for judge in JUDGES]
"""Columns of what judges see in the end: verdicts are rows with them."""


@dataclass(frozen=True)
class Montage:
    """What a montage shows; `columns` are the headings."""

    rows: list[Row]
    columns: list[str]
    title: str
    caption: str


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


def by_target(ascents: list[Ascent], verdicts: Rows, blocks: int) -> Montage:
    """Return rows (source, then each view) for `blocks` sources of different classes; columns are target classes."""
    same(ascents, "epsilon", "an epsilon")
    lines, columns = tabulate(ascents, "target", "classes")
    sources = next(iter(lines.values()))
    for line in lines.values():
        for one, other in zip(sources, line, strict=True):
            from_the_same([one, other])
    rows = []
    orders = [_varied(ascent)[:blocks] for ascent in sources]
    for places in zip(*orders, strict=False):  # places of the sources, one a column
        pictures, labels = zip(
            *((a.source[k], _label(a, k)) for a, k in zip(sources, places, strict=True)), strict=True
        )
        rows.append(Row("source", list(pictures), list(labels), space=4 * GAP if rows else 0))
        rows += [_ends(name_of(view), list(zip(line, places, strict=True)), verdicts) for view, line in lines.items()]
    return Montage(rows, columns, f"Ascent towards each class, {at(ascents[0])}", _text(ascents, verdicts))


def by_source(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (sources, then each view at each epsilon); columns are the first sources, SOURCES at most."""
    target = same(ascents, "target", "one target class")
    from_the_same(ascents)
    first = ascents[0]
    shown = range(min(SOURCES, len(first.source)))
    rows = [Row("source", [first.source[k] for k in shown], [_label(first, k) for k in shown])]
    before = None
    for ascent in ascents:
        view = ascent.settings.view
        label = f"{name_of(view)}, ε = {ascent.settings.epsilon:g}"
        rows.append(_ends(label, [(ascent, k) for k in shown], verdicts, space=0 if view == before else 2 * GAP))
        before = view
    columns = [f"image #{first.index[k]}" for k in shown]
    return Montage(rows, columns, f"Ascent towards {target}", _text(ascents, verdicts))


def ladder(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (each view, below it its change) at rising epsilons, from the first source, which stands at 0."""
    target = same(ascents, "target", "one target class")
    from_the_same(ascents)
    lines, _ = tabulate(sorted(ascents, key=lambda a: a.settings.epsilon), "epsilon", "epsilons")
    rows = []
    for number, view in enumerate(dict.fromkeys(a.settings.view for a in ascents)):
        panel, line = number // PANEL, lines[view]
        ends = replace(_from_source(line, verdicts, space=2 * GAP if number % PANEL else 0), panel=panel)
        norms = ["", *(f"‖δ‖ {a.norm[0]:.2f}" for a in line)]
        none = amplified(line[0].source[0], line[0].source[0])
        changes = [none, *(amplified(a.source[0], a.end[0]) for a in line)]
        rows += [ends, Row(f"its change, {AMPLIFIED}×", changes, norms, colour=ends.colour, panel=panel)]
    text = (
        f"Below each view: the change δ of every pixel, amplified {AMPLIFIED}× around mid-grey (no change) and "
        f"clipped, and its length. {_text(ascents, verdicts)}"
    )
    heads = [f"ε = {a.settings.epsilon:g}, RMS {a.rms:.2g}" for a in next(iter(lines.values()))]
    return Montage(rows, ["source", *heads], f"From one image towards {target}, at rising ε", text)


def sweep(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (each smoothed model) by numbers of draws N, from the first source, which stands before them."""
    target = same(ascents, "target", "one target class")
    same(ascents, "epsilon", "one epsilon")
    from_the_same(ascents)
    lines, columns = tabulate(ascents, "draws", "numbers of draws")
    rows = [
        replace(_from_source(line, {}), right=["", *(f"cos {a.split_half[0]:.2f}" for a in line)])
        for line in lines.values()
    ]
    text = (
        f"{about_notes(ascents, False)[:-1]}; right: split-half cosine, that of two independent estimates of the "
        f"gradient at the source, each from N draws. {made_by(ascents, draws=False)}"
    )
    heads = ["source", *(f"N = {n}" for n in columns)]
    return Montage(rows, heads, f"What σ and N do, towards {target}, {at(ascents[0])}", text)


SCORES = {"log-p": f"log {P}", "logit": "mean logit of the target", "untargeted": f"−log {P} of the own class"}


def ablation(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (the first source, then each model by each score); columns are target classes."""
    same(ascents, "epsilon", "an epsilon")
    scores = list(dict.fromkeys(a.settings.score for a in ascents))
    rows, columns = [], []
    for score in scores:
        lines, columns = tabulate([a for a in ascents if a.settings.score == score], "target", "classes")
        for view, line in lines.items():
            if not rows:
                rows.append(Row("source", [a.source[0] for a in line], [_label(a, 0) for a in line]))
            rows.append(_ends(f"{name_of(view)}: {SCORES[score]}", [(a, 0) for a in line], {}))
    text = (
        f"{about_notes(ascents, False)} Where −log {P} of the own class ascends, it is that class's. {made_by(ascents)}"
    )
    return Montage(rows, columns, f"What else could be ascended, {at(ascents[0])}", text)


def synthesis(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return two rows a view that starts from no picture: its seeds, and what becomes of them; columns are classes."""
    if known := [a.settings.view.label for a in ascents if a.settings.start == "images"]:
        raise BadInput(f"the synthesis shows views that start from seeds or noise, but {known[0]!r} starts from images")
    same(ascents, "epsilon", "one epsilon")
    lines, columns = tabulate(ascents, "target", "classes")
    rows = []
    for view, line in lines.items():
        ends = _ends(name_of(view), [(a, 0) for a in line], verdicts)
        starts = Row(view.start, [a.source[0] for a in line], colour=ends.colour, space=3 * GAP if rows else 0)
        rows += [starts, ends]
    return Montage(rows, columns, f"Each class from no picture, {at(ascents[0])}", _text(ascents, verdicts))


DESIGNS = {
    "headline": partial(by_target, blocks=BLOCKS),
    "controls": partial(by_target, blocks=1),
    "eps": partial(by_target, blocks=BLOCKS),
    "class": by_source,
    "ladder": ladder,
    "sweep": sweep,
    "ablation": ablation,
    "synthesis": synthesis,
}
"""By kind: what makes a `Montage` of ascents and verdicts."""


def _varied(ascent: Ascent) -> list[int]:
    """Return the places of an ascent's sources: the first of each class, then the others."""
    firsts = np.sort(np.unique(ascent.label, return_index=True)[1]).tolist()
    return [*firsts, *(k for k in range(len(ascent.label)) if k not in firsts)]


def amplified(source: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the change from `source` to `end`, AMPLIFIED times, around mid-grey and clipped to [0, 1]."""
    return (0.5 + AMPLIFIED * (end.astype(np.float64) - source)).clip(0, 1)


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


def _ends(label: str, cells: list[tuple[Ascent, int]], verdicts: Rows, space: int = 0) -> Row:
    """Return the row of the ends of ascents, each from its source of that number."""
    pictures = [ascent.end[k] for ascent, k in cells]
    left = [f"{ascent.p_after[k]:.2f}" for ascent, k in cells]
    right = [_verdict(verdicts, ascent, k) for ascent, k in cells] if verdicts else None
    view = cells[0][0].settings.view
    return Row(label, pictures, left, right, view_colour(view.model, view.sigma), space)


def _verdict(verdicts: Rows, ascent: Ascent, k: int) -> str:
    """Return e.g. "2/3": the judges that see the target class in the end from source number k, of those that judge."""
    row = row_of(verdicts, ascent.settings, int(ascent.index[k]))
    judged = [row[column] for column in AFTER if row[column]]
    return f"{judged.count(ascent.settings.target)}/{len(judged)}"


def _from_source(line: list[Ascent], verdicts: Rows, space: int = 0) -> Row:
    """Return the row of a view: the first source, then the ends of its ascents."""
    ends = _ends(name_of(line[0].settings.view), [(a, 0) for a in line], verdicts, space)
    pictures, left = [line[0].source[0], *ends.pictures], [_label(line[0], 0), *ends.left]
    return replace(ends, pictures=pictures, left=left, right=ends.right and ["", *ends.right])


def _text(ascents: list[Ascent], verdicts: Rows) -> str:
    return f"{about_notes(ascents, bool(verdicts))} {made_by(ascents)}"


def _label(ascent: Ascent, k: int) -> str:
    number = ascent.label[k]
    return ascent.settings.classes[number] if number >= 0 else ""
