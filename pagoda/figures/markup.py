"""Text in Markdown and in LaTeX: tables (with booktabs' rules, a cell a value with its 95 % interval), escapes."""

from math import isnan

import pandas as pd

from pagoda.data.registry import MEASURES

P = "p̄ₜ"  # the smoothed classifier's probability of the target class, as figures write it
WORDS = {
    "\\": "backslash",
    "~": "asciitilde",
    "^": "asciicircum",
    "<": "less",
    ">": "greater",
    "|": "bar",
    '"': "quotedbl",
}
MATHS = {"\0": r"\bar p_t", "σ": r"\sigma", "ε": r"\varepsilon", "δ": r"\delta", "∇": r"\nabla", "‖": r"\|", "−": "-"}
MATHS |= {"√": r"\surd", "±": r"\pm", "×": r"\times", "↑": r"\uparrow", "↓": r"\downarrow"}
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {c: f"\\text{word}{{}}" for c, word in WORDS.items()}
LATEX |= {c: f"${word}$" for c, word in MATHS.items()}
"""What LaTeX would take otherwise, or not have, as it is written there."""


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of texts in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def tabular(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of texts as LaTeX: the first column to the left, the others centred."""
    lines = [rf"{' & '.join(map(escaped, cells))} \\" for cells in (head, *rows)]
    begin = rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}"
    return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    """Return a text as LaTeX takes it."""
    return "".join(LATEX.get(c, c) for c in text.replace(P, "\0"))


def cell(value: float, low: float, high: float, digits: int = 2) -> str:
    """Return a value and its interval, ".54 [.44, .64]"; no interval where it is undefined, a dash for no value."""
    if isnan(value):
        return "–"
    said = f"{value:.{digits}f}"
    return said if isnan(low) else f"{said} [{low:.{digits}f}, {high:.{digits}f}]"


def alignment(summary: pd.DataFrame) -> str:
    """Return the table of the measures, a row a view; `summary` holds rows of the align_summary step's table."""
    head = ["view", *(f"{one.name} {'↑' if one.better > 0 else '↓'}" for one in MEASURES)]
    rows = [
        [row.view, *(cell(row[m.column], row[f"{m.column}_low"], row[f"{m.column}_high"], m.digits) for m in MEASURES)]
        for _, row in summary.iterrows()
    ]
    return tabular(head, rows)


def certified(points: pd.DataFrame) -> str:
    """Return the table of certified accuracy, a row a model and σ, a column a radius."""
    radii = sorted(points.radius.unique())
    rows = []
    for (model, sigma), some in points.groupby(["model", "sigma"], sort=False, dropna=False):
        at = {row.radius: cell(row.accuracy, row.low, row.high) for _, row in some.iterrows()}
        rows.append([model, "" if isnan(sigma) else f"{sigma:g}", *(at.get(radius, "–") for radius in radii)])
    return tabular(["model", "σ", *(f"{radius:g}" for radius in radii)], rows)
