"""A panel for each measure of alignment, of each view at one epsilon.

Dots are means over images and bars their 95 % intervals, as the align summary has them.
"""

from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pagoda.data.registry import MEASURES, WHITE_NOISE, Measure
from pagoda.data.tables import read_table
from pagoda.errors import BadInput
from pagoda.figures.captions import values_of
from pagoda.figures.grid import caption_below
from pagoda.figures.looks import view_colour, view_marker
from pagoda.figures.style import DPI, SIZES, TEXT_WIDTH, plt
from pagoda.figures.text import PLAIN, wrapped

ACROSS = 3  # panels beside each other


def read_summary(path: Path, epsilon: float) -> pd.DataFrame:
    """Return the rows of views that start from images, at `epsilon`. Raises BadInput where there are none."""
    wanted = [f"{measure.column}{part}" for measure in MEASURES for part in ("", "_low", "_high")]
    table = read_table(path, "align_summary", ("view", "model", "sigma", "start", "epsilon", "n", "flags", *wanted))
    from_images = table[table.start == "images"]
    found = from_images[np.isclose(from_images.epsilon, epsilon)]
    if found.empty:
        raise BadInput(
            f"{path} has no view from images at ε = {epsilon:g}: it has {values_of(from_images.epsilon) or 'none'}"
        )
    return found.reset_index(drop=True)


def draw_panels(rows: pd.DataFrame, epsilon: float) -> plt.Figure:
    """Return the figure: a panel a measure, a row a view."""
    down = ceil(len(MEASURES) / ACROSS)
    height = 0.9 + down * (0.45 + 0.19 * len(rows))
    figure = plt.figure(figsize=(TEXT_WIDTH, height), dpi=DPI, layout="constrained")
    taken = caption_below(figure, caption(rows, epsilon))
    figure.get_layout_engine().set(rect=(0, taken, 1, 1 - taken), w_pad=0.04, h_pad=0.04)
    panels = figure.subplots(down, ACROSS, sharey=True, squeeze=False).flat
    for number, (measure, axes) in enumerate(zip(MEASURES, panels, strict=False)):
        _draw_measure(axes, rows, measure)
        axes.tick_params(axis="y", length=0, labelleft=number % ACROSS == 0)
    for axes in panels:  # those left over
        axes.set_axis_off()
    return figure


def _draw_measure(axes: Axes, rows: pd.DataFrame, measure: Measure) -> None:
    """Draw a measure of each view, from top to bottom: a dot at its value, a bar over its interval if it has one."""
    name = measure.column
    if measure.reference is not None:
        axes.axvline(measure.reference, color="#777777", linestyle="--", linewidth=0.8, zorder=1)
    for y, row in rows.iterrows():
        colour = view_colour(row.model, row.sigma)
        interval = [row[f"{name}_low"], row[f"{name}_high"]]
        known = bool(np.isfinite(interval).all())
        if known:
            axes.plot(interval, [y, y], color=colour, linewidth=1.6, zorder=2)
        axes.plot([row[name]], [y], view_marker(row.model), color=colour, mfc=colour if known else "white", zorder=3)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    axes.set_yticklabels(["\n".join(wrapped(row.view, SIZES["note"], 480)) for row in rows.itertuples()], **PLAIN)
    axes.set_title(measure.title, fontsize=SIZES["note"])
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.margins(x=0.12)


def caption(rows: pd.DataFrame, epsilon: float) -> str:
    """Return what is shown, with n, and what has no interval or is flagged."""
    text = [
        f"Means over n = {values_of(rows.n)} images, ε = {epsilon:g}, with 95 % intervals (Student's t) over images; "
        "the arrow points to better. Dashed: 0, and for high frequencies white noise, "
        f"{WHITE_NOISE:.2f}; gain: of the chance that a judge sees the target class."
    ]
    if bare := [m.short for m in MEASURES if rows[[f"{m.column}_low", f"{m.column}_high"]].isna().any(axis=None)]:
        text.append(f"A hollow dot without a bar has no interval: it is undefined ({', '.join(bare)}).")
    if flagged := [f"{row.view}: {row.flags}" for row in rows.itertuples() if row.flags]:
        text.append(f"Flagged: {'; '.join(flagged)}.")
    return " ".join(text)
