"""Tables for a paper: LaTeX's tabular with booktabs' rules, a cell a value with its 95 % interval."""

from math import isnan

import pandas as pd

from pagoda.data.registry import MEASURES

ESCAPED = {**{c: f"\\{c}" for c in "&%$#_{}"}, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\^{}"}
SYMBOLS = {
    "σ": r"$\sigma$",
    "ε": r"$\varepsilon$",
    "∇": r"$\nabla$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "−": "--",
}


def tabular(head: list[str], rows: list[list[str]]) -> str:
    """Return a table of texts as LaTeX: the first column to the left, the others centred."""
    lines = [rf"{' & '.join(map(escaped, cells))} \\" for cells in (head, *rows)]
    begin = rf"\begin{{tabular}}{{l{'c' * (len(head) - 1)}}}"
    return "\n".join([begin, r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule", r"\end{tabular}", ""])


def escaped(text: str) -> str:
    """Return a text as LaTeX takes it."""
    return "".join(ESCAPED.get(c) or SYMBOLS.get(c, c) for c in text)


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
