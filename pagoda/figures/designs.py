"""The montages: which picture of which ascent stands where.

headline   rows: several sources, each with its views below; columns: the first target classes; one epsilon; large
controls   rows: the first source, then every view; columns: target classes; one epsilon
eps        the same for several sources
class      rows: sources, then each view at each epsilon; columns: sources; one target class
ladder     rows: views; columns: epsilons, beside each the change, signed; the first source, one target class
steps      rows: views; columns: steps of the ascent; the first source, one target class, one epsilon
sweep      rows: smoothed models, below each its gradient; columns: N, noise draws a step; the first source, one class
ablation   rows: the first source, each model by each score; columns: target classes; one epsilon
synthesis  rows: seeds or noise, then the ends of each view from them; columns: target classes
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pagoda.data.alignments import Rows, row_of
from pagoda.data.ascents import Ascent
from pagoda.data.registry import JUDGES
from pagoda.errors import BadInput
from pagoda.figures.captions import P, about_frames, about_notes, at, key_of_notes, made_by
from pagoda.figures.grid import GAP, Key, Row
from pagoda.figures.looks import name_of, view_colour
from pagoda.figures.signed import scale_of_changes, signed, signed_key, spread
from pagoda.figures.together import evenly, from_the_same, p_after, same, same_steps, tabulate
from pagoda.maths.confidence import mean_interval

BLOCKS = 3  # how many sources the headline and the eps montage show
CLASSES = 6  # how many target classes the headline shows at most
SOURCES = 8  # how many sources the class montage shows at most
STEPS = 7  # how many steps of an ascent are shown at most
AFTER = [f"{judge.name}_after" for judge in JUDGES]
"""Columns of what judges see in the end: verdicts are rows with them."""


@dataclass(frozen=True)
class Montage:
    """What a montage shows. `columns` are the headings; `brief`, where it is given, stands below for the caption."""

    rows: list[Row]
    columns: list[str]
    title: str
    caption: str
    key: Key | None = None
    brief: str = ""


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
    brief = key_of_notes(bool(verdicts))
    title = f"Ascent towards each column's class, {at(ascents[0])}"
    return Montage(rows, columns, title, _text(ascents, verdicts), brief=brief)


def headline(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return `by_target` for several sources and the first CLASSES target classes, so that pictures are large."""
    shown = list(dict.fromkeys(ascent.settings.target for ascent in ascents))[:CLASSES]
    return by_target([a for a in ascents if a.settings.target in shown], verdicts, BLOCKS)


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
    """Return rows (each view) at rising epsilons, each end beside its change, from the first source, which stands at 0.

    All changes of the figure share one signed scale.
    """
    target = same(ascents, "target", "one target class")
    from_the_same(ascents)
    lines, _ = tabulate(sorted(ascents, key=lambda a: a.settings.epsilon), "epsilon", "epsilons")
    reach = scale_of_changes(a.end[0] - a.source[0] for a in ascents)
    rows = []
    for line in lines.values():
        ends = _from_source(line, verdicts)
        changes = [(signed(a.end[0] - a.source[0], reach), f"‖δ‖ {a.norm[0]:.2f}", "") for a in line]
        cells = list(zip(ends.pictures, ends.left, ends.right or [""] * len(ends.left), strict=True))
        cells[1:] = [cell for pair in zip(cells[1:], changes, strict=True) for cell in pair]
        rows.append(Row(ends.label, *map(list, zip(*cells, strict=True)), ends.colour))
    colours = " (mean over colours)" if len(ascents[0].source[0]) > 1 else ""
    text = (
        f"Beside each end: the change δ of every pixel{colours}, on one scale that ends at the 99th percentile of |δ| "
        f"over the figure, and its length ‖δ‖. {_text(ascents, verdicts)}"
    )
    heads = [head for a in next(iter(lines.values())) for head in (at(a).replace(" (", ", ").strip(")"), "its change")]
    title = f"From one image towards {target}, at rising ε"
    return Montage(rows, ["source", *heads], title, text, signed_key("change of a pixel", reach))


def steps(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (each view) by steps of the ascent from the first source: the animation, for print."""
    target = same(ascents, "target", "one target class")
    same(ascents, "epsilon", "one epsilon")
    tabulate(ascents, "target", "classes")
    from_the_same(ascents)
    frames = same_steps(ascents)
    kept = evenly(len(frames), STEPS)
    rows = []
    for ascent in ascents:
        view = ascent.settings.view
        notes = [f"{p_after(ascent, int(frames[k]))[0]:.2f}" for k in kept]
        pictures = [ascent.frames[k, 0] / 255 for k in kept]
        rows.append(Row(name_of(view), pictures, notes, colour=view_colour(view.model, view.sigma)))
    text = f"{about_frames()} {made_by(ascents)}"
    heads = [f"step {frames[k]}" for k in kept]
    return Montage(rows, heads, f"The way towards {target}, {at(ascents[0])}", text)


def sweep(ascents: list[Ascent], verdicts: Rows) -> Montage:
    """Return rows (each smoothed model, below it its gradient) by N, from the first source, which stands first."""
    target = same(ascents, "target", "one target class")
    same(ascents, "epsilon", "one epsilon")
    from_the_same(ascents)
    lines, columns = tabulate(ascents, "draws", "numbers of draws")
    rows = []
    for number, line in enumerate(lines.values()):
        rows.append(_from_source(line, {}, space=2 * GAP if number else 0))
        cosines = [mean_interval(a.split_half) for a in line]
        pictures = [np.ones_like(line[0].source[0]), *(spread(a.gradients[0, 0]) for a in line)]
        brackets = ["", *(f"[{low:.2f}, {high:.2f}]".replace("0.", ".") for _, low, high, _ in cosines)]
        means = ["", *(f"{mean:.2f}".removeprefix("0") for mean, *_ in cosines)]
        rows.append(Row(f"its gradient, ∇ log {P}, at the source", pictures, means, brackets, rows[-1].colour))
    text = (
        f"{about_notes(ascents, False)} Gradients: ±3 standard deviations of their values around mid-grey; below: the "
        "split-half cosine, that of two independent estimates, each from N draws, mean over "
        f"{len(ascents[0].source)} sources with its 95 % interval. {made_by(ascents, draws=False)}"
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
    """Return seeds, or noise, once, and below them what each view makes of them; columns are classes."""
    if known := [name_of(a.settings.view) for a in ascents if a.settings.start == "images"]:
        raise BadInput(f"the synthesis shows views that start from seeds or noise, but {known[0]!r} starts from images")
    same(ascents, "epsilon", "one epsilon")
    lines, columns = tabulate(ascents, "target", "classes")
    rows = []
    for start in dict.fromkeys(view.start for view in lines):
        own = {view: line for view, line in lines.items() if view.start == start}
        *_, last = own.values()
        before = [f"{a.p_before[0]:.2f}" for a in last]
        rows.append(Row(start, [a.source[0] for a in last], before, space=3 * GAP if rows else 0))
        rows += [_ends(name_of(view), [(a, 0) for a in line], verdicts) for view, line in own.items()]
    text = f"Below each start: {P} there, by the last view below it. {_text(ascents, verdicts)}"
    return Montage(rows, columns, f"Each class from no picture, {at(ascents[0])}", text)


DESIGNS = {
    "headline": headline,
    "controls": partial(by_target, blocks=1),
    "eps": partial(by_target, blocks=BLOCKS),
    "class": by_source,
    "ladder": ladder,
    "steps": steps,
    "sweep": sweep,
    "ablation": ablation,
    "synthesis": synthesis,
}
"""By kind: what makes a `Montage` of ascents and verdicts."""


def _varied(ascent: Ascent) -> list[int]:
    """Return the places of an ascent's sources: the first of each class, then the others."""
    firsts = np.sort(np.unique(ascent.label, return_index=True)[1]).tolist()
    return [*firsts, *(k for k in range(len(ascent.label)) if k not in firsts)]


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
