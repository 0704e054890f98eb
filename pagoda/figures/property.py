"""Is alignment a general property of robust classifiers? Alignment against certified accuracy, a point a model.

Points of one objective and sigma that differ in their seed alone are no evidence of their own: rank correlations are
those of their means. The Bayes classifier is drawn, as what alignment can be, but is none of the models correlated: it
is what the Bayes contrast compares with. Bars are 95 % intervals over images: Student's t, and Clopper-Pearson for
certified accuracy.
"""

from math import atanh, factorial, isnan, nan, sqrt, tanh

import numpy as np
import pandas as pd
from scipy import stats

from pagoda.data.alignments import Alignment
from pagoda.data.registry import MEASURES
from pagoda.figures.certified import Certificates
from pagoda.figures.looks import view_colour, view_marker, view_name
from pagoda.figures.style import DPI, SIZES, TEXT_WIDTH, plt
from pagoda.maths.confidence import mean_interval

SHOWN = ("bayes", "net_gain")
"""The measures drawn: one of the gradient, one of where it leads."""
NAMES = {measure.column: measure.name for measure in MEASURES}


def points(models: list[tuple[Certificates, Alignment, str]], radii: tuple[float, ...], epsilon: float) -> pd.DataFrame:
    """Return a row a model and sigma: its alignment, and its certified accuracy at each radius, with intervals.

    Args:
        models: the certificates and the measures of each, and what those that differ in their seed alone are called.
        radii: L2, in pixel values.
        epsilon: of the ascents.

    """
    rows = []
    for certificates, alignment, group in models:
        images = alignment.by_image(epsilon)
        row = {name: alignment.facts[name] for name in ("model", "objective", "sigma")} | {"group": group}
        for measure in MEASURES:
            name = measure.column
            found = mean_interval(images[name].to_numpy(float), within=measure.within)
            row |= dict(zip((name, f"{name}_low", f"{name}_high", f"{name}_n"), found, strict=True))
        for radius in radii:
            found = certificates.accuracy(radius)
            names = (f"certified_{radius:g}{part}" for part in ("", "_low", "_high", "_n"))
            row |= dict(zip(names, found, strict=True))
        rows.append(row)
    return pd.DataFrame(rows)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, int]:
    """Return (Spearman's rho, low, high, n) of the pairs that both have; NaN where there are none to tell from.

    The 95 % interval is that of Bonett & Wright 2000, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations", equation 6: Fisher's z with the variance (1 + rho^2 / 2) / (n - 3).
    """
    both = ~(np.isnan(x) | np.isnan(y))
    x, y = x[both], y[both]
    n = len(x)
    if n < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return nan, nan, nan, n
    rho = float(stats.spearmanr(x, y).statistic)
    if n < 4 or abs(rho) > 1 - 1e-12:
        return rho, nan, nan, n
    reach = stats.norm.ppf(0.975) * sqrt((1 + rho**2 / 2) / (n - 3))
    return rho, tanh(atanh(rho) - reach), tanh(atanh(rho) + reach), n


def correlations(frame: pd.DataFrame, radii: tuple[float, ...]) -> pd.DataFrame:
    """Return a row a measure, radius and sigma (and all together): the rank correlation of the means over seeds."""
    rows = []
    groups = (
        frame[frame.objective != "bayes"].groupby(["group", "sigma"], sort=False).mean(numeric_only=True).reset_index()
    )
    for sigma, some in [("all", groups), *groups.groupby("sigma")]:
        if sigma != "all" and len(some) < 4:
            continue
        for measure in NAMES:
            for radius in radii:
                found = rank_correlation(some[measure].to_numpy(float), some[f"certified_{radius:g}"].to_numpy(float))
                rows.append({"measure": measure, "radius": radius, "sigma": sigma}
                            | dict(zip(("rho", "low", "high", "n"), found, strict=True)))  # fmt: skip
    return pd.DataFrame(rows)


def sentences(table: pd.DataFrame) -> list[str]:
    """Return what holds, a line for all models and one for those of each sigma; `table` is that of `correlations`."""
    said = []
    for sigma, rows in table.groupby("sigma", sort=False):
        decided = [f"{_pair(row)} {verdict}" for row in rows.itertuples() if (verdict := _verdict(row))]
        among = f"Among {rows.n.max()} models" + ("" if sigma == "all" else f" of σ = {sigma:g}")
        left = f"{len(rows) - len(decided)} of {len(rows)} pairs of a measure and a radius are undecided"
        chance = f"were nothing related, {0.05 * len(rows):.1f} of them would seem decided"
        said.append(f"{among}: {''.join(f'{one}; ' for one in decided)}{left} ({chance}).")
    return said


def _pair(row: tuple) -> str:
    interval = "" if isnan(row.low) else f" [{row.low:+.2f}, {row.high:+.2f}]"
    return f"{NAMES[row.measure]} and certified accuracy at {row.radius:g} (rank correlation {row.rho:+.2f}{interval})"


def _verdict(row: tuple) -> str:
    """Return what a correlation says, "" where it leaves open whether there is one."""
    # One and the same order, or its reverse, has no interval: by chance it comes in 2 / n! of all cases.
    ordered = isnan(row.low) and abs(row.rho) == 1 and 2 / factorial(row.n) < 0.05
    decided = ordered or row.low > 0 or row.high < 0
    return ("go together" if row.rho > 0 else "go against each other") if decided else ""


def draw_property(frame: pd.DataFrame, table: pd.DataFrame, radii: tuple[float, ...]) -> plt.Figure:
    """Return the figure: a row a measure of SHOWN, a column a radius; hues are objectives, the darker the larger σ."""
    size = (TEXT_WIDTH, 2.2 * len(SHOWN) + 0.9)
    figure, panels = plt.subplots(
        len(SHOWN), len(radii), figsize=size, dpi=DPI, layout="constrained", squeeze=False, sharey="row", sharex="col"
    )
    for line, measure in zip(panels, SHOWN, strict=True):
        for axes, radius in zip(line, radii, strict=True):
            _draw(axes, frame, measure, f"certified_{radius:g}")
            rho = table[(table.measure == measure) & (table.radius == radius) & (table.sigma == "all")].iloc[0]
            interval = "" if isnan(rho.low) else f" [{rho.low:.2f}, {rho.high:.2f}]"
            title = "no rank correlation" if isnan(rho.rho) else f"rank correlation {rho.rho:.2f}{interval}"
            axes.set_title(f"{title}, {rho.n} models".replace("-", "−"), fontsize=SIZES["note"])
        line[0].set_ylabel(NAMES[measure])
    for axes, radius in zip(panels[-1], radii, strict=True):
        axes.set_xlabel(f"certified accuracy at L2 radius {radius:g}")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _draw(axes: plt.Axes, frame: pd.DataFrame, measure: str, certified: str) -> None:
    """Draw a point a model, bars over its intervals; seeds of one objective and sigma share a legend's entry."""
    for (group, sigma), some in frame.groupby(["group", "sigma"], sort=False):
        style = {"color": view_colour(group, sigma), "fmt": view_marker(group)}
        bars = [
            np.abs(some[[f"{name}_low", f"{name}_high"]].sub(some[name], axis=0)).fillna(0).to_numpy().T
            for name in (certified, measure)
        ]
        axes.errorbar(
            some[certified], some[measure], xerr=bars[0], yerr=bars[1], label=view_name(group, sigma),
            elinewidth=0.5, markersize=4, alpha=0.9, **style,
        )  # fmt: skip
