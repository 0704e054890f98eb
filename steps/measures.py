"""measures: certified accuracy against radius, beside the measures of alignment of each view at one epsilon.

Dots are means over images and bars their 95 % bootstrap intervals, as the align summary has them.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from pagoda.errors import BadInput
from pagoda.figures.grid import caption_below
from pagoda.figures.style import DPI, MARKERS, SIZES, TEXT_WIDTH, plt, save_figure, view_colour
from pagoda.figures.text import PLAIN, wrapped
from pagoda.log import logger
from pagoda.options import Options, option
from pagoda.run.command import main

PANELS = {
    "contrastive": "contrastive cosine →",
    "saliency": "saliency cosine →",
    "high_frequency": "← high-freq. fraction",
    "knn_gain": "gain: neighbours →",
    "qda_gain": "gain: Gaussians →",
    "net_gain": "gain: small net →",
}
"""Columns of the summary in the order of the panels, with what they are called; an arrow shows the better side."""
WHITE = 1 - np.pi / 16
"""High-frequency fraction of white noise: the share of the square of frequencies outside the circle of radius 1/4."""
ENVELOPE = "envelope"


class Config(Options):
    """Draw certified accuracy beside the measures of alignment."""

    summary: Path = option("the table (.csv) that the align_summary step wrote")
    epsilon: float = option("radius of the ascents", gt=0)
    out: Path = option("where the figure goes: .png, .pdf or .svg")
    certified: tuple[Path, ...] = option("the table (.csv) of the certified_accuracy step, or none", ())


def run(config: Config) -> plt.Figure:
    """Draw the figure and return it, closed. Raises BadInput where a table is missing or has no such epsilon."""
    if len(config.certified) > 1:
        raise BadInput(f"--certified has {len(config.certified)} tables: give one, or none")
    rows = read_summary(config.summary, config.epsilon)
    certified = (
        _read(config.certified[0], ("model", "sigma", "radius", "accuracy", "low", "high"))
        if config.certified
        else None
    )
    figure = draw(rows, certified, config.epsilon)
    save_figure(figure, config.out)
    logger.info("wrote %s: %d views", config.out, len(rows))
    return figure


def read_summary(path: Path, epsilon: float) -> pd.DataFrame:
    """Return the rows of views that start from images, at `epsilon`. Raises BadInput where there are none."""
    wanted = [f"{name}{part}" for name in PANELS for part in ("", "_low", "_high")]
    table = _read(path, ("view", "model", "sigma", "start", "epsilon", "n", *wanted))
    from_images = table[table.start == "images"]
    found = from_images[np.isclose(from_images.epsilon, epsilon)]
    if found.empty:
        known = ", ".join(f"{value:g}" for value in sorted(set(from_images.epsilon)))
        raise BadInput(f"{path} has no view from images at ε = {epsilon:g}: it has {known or 'none'}")
    return found.reset_index(drop=True)


def draw(rows: pd.DataFrame, certified: pd.DataFrame | None, epsilon: float) -> plt.Figure:
    """Return the figure: to the left certified accuracy where there is any, to the right a panel a measure."""
    height = 1.7 + 2 * 0.22 * len(rows) + 0.5
    figure = plt.figure(figsize=(TEXT_WIDTH, height), dpi=DPI, layout="constrained")
    taken = caption_below(figure, caption(rows, certified, epsilon))
    figure.get_layout_engine().set(rect=(0, taken, 1, 1 - taken), w_pad=0.04, h_pad=0.04)
    outer = figure.add_gridspec(
        1, 2 if certified is not None else 1, width_ratios=(1, 2) if certified is not None else None
    )
    if certified is not None:
        draw_certified(figure.add_subplot(outer[0]), certified)
    panels = outer[-1].subgridspec(2, 3).subplots(sharey=True)
    for number, (name, axes) in enumerate(zip(PANELS, panels.flat, strict=True)):
        draw_measure(axes, rows, name)
        axes.tick_params(axis="y", length=0, labelleft=number % 3 == 0)
    return figure


def draw_measure(axes: Axes, rows: pd.DataFrame, name: str) -> None:
    """Draw a measure of each view, from top to bottom: a dot at its value, a bar over its interval if it has one."""
    if name != "saliency":  # an absolute value: chance is no fixed number there
        axes.axvline(WHITE if name == "high_frequency" else 0, color="#777777", linestyle="--", linewidth=0.8, zorder=1)
    for y, row in rows.iterrows():
        colour = view_colour(row.model, row.sigma)
        known = bool(np.isfinite([row[f"{name}_low"], row[f"{name}_high"]]).all())
        if known:
            axes.plot([row[f"{name}_low"], row[f"{name}_high"]], [y, y], color=colour, linewidth=1.6, zorder=2)
        axes.plot([row[name]], [y], MARKERS[y % len(MARKERS)], color=colour, mfc=colour if known else "white", zorder=3)
    axes.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
    axes.set_yticklabels(["\n".join(wrapped(row.view, SIZES["note"], 240)) for row in rows.itertuples()], **PLAIN)
    axes.set_title(PANELS[name], fontsize=SIZES["note"])
    axes.grid(axis="y", visible=False)
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.margins(x=0.12)


def draw_certified(axes: Axes, table: pd.DataFrame) -> None:
    """Draw certified accuracy against radius: a curve a smoothed model, its band the 95 % interval over images."""
    shown = table[table.model != ENVELOPE].astype({"sigma": float})
    for number, ((model, sigma), curve) in enumerate(shown.groupby(["model", "sigma"], sort=False)):
        curve = curve[: 1 + int((curve.accuracy > 0).to_numpy().nonzero()[0].max(initial=0)) + 1]
        style = {"color": view_colour(model, sigma), "marker": MARKERS[number % len(MARKERS)], "markersize": 3}
        axes.plot(curve.radius, curve.accuracy, label=f"{model}, σ = {sigma:g}", **style)
        axes.fill_between(curve.radius, curve.low, curve.high, color=style["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel="L2 radius", ylim=(0, 1))
    axes.set_title("certified accuracy", fontsize=SIZES["note"])
    axes.set_xlim(left=0)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), handlelength=1.6)


def caption(rows: pd.DataFrame, certified: pd.DataFrame | None, epsilon: float) -> str:
    """Return what is shown, with n, and what has no interval or is flagged."""
    counts = sorted(set(rows.n.astype(int)))
    text = []
    if certified is not None:
        images = ", ".join(map(str, sorted(set(certified.n.astype(int)))))
        text.append(f"Left: bands are 95 % intervals over {images} test images.")
    text.append(
        f"{'Right' if certified is not None else 'Panels'}: means over n = {', '.join(map(str, counts))} images, ε = "
        f"{epsilon:g}, with 95 % bootstrap intervals over images; the arrow points to better. Dashed: 0, and for high "
        f"frequencies white noise, {WHITE:.2f}; gain: of the chance that a judge sees the target class."
    )
    bare = [PANELS[name].strip("← →") for name in PANELS if rows[[f"{name}_low", f"{name}_high"]].isna().any(axis=None)]
    if bare:
        text.append(f"A hollow dot without a bar has no interval: it is undefined ({', '.join(bare)}).")
    flagged = [f"{row.view}: {row.flags}" for row in rows.itertuples() if getattr(row, "flags", "")]
    if flagged:
        text.append(f"Flagged: {'; '.join(flagged)}.")
    return " ".join(text)


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    names = ("view", "model", "start", "objective", "flags")
    try:
        # As text: a model may be named nan.
        table = pd.read_csv(
            path, dtype=dict.fromkeys(names, str), keep_default_na=False, na_values=_blank(names, columns)
        )
        return table[[*columns, *(name for name in ("flags", "n") if name in table and name not in columns)]]
    except FileNotFoundError:
        raise BadInput(f"no table at {path}") from None
    except (KeyError, ValueError) as error:
        raise BadInput(f"{path} is not a table that this step reads: {error}") from None


def _blank(names: tuple[str, ...], columns: tuple[str, ...]) -> dict[str, list[str]]:
    return {column: [""] for column in columns if column not in names}


if __name__ == "__main__":
    main("measures", Config, run)
