"""Certified accuracy against radius: from tables of certificates, as numbers and as curves.

The certified accuracy at radius r is the fraction of images whose certificate is of the right class and of a radius
of at least r (Cohen et al. 2019, section 4); abstentions count as wrong. Intervals are 95 % Clopper-Pearson, over
images. Radii are L2 lengths in pixel values.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor, nan
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pagoda.data.tables import read_facts, read_table
from pagoda.figures.looks import view_colour, view_marker, view_name
from pagoda.figures.published import draw_published
from pagoda.figures.style import TEXT_WIDTH, plt
from pagoda.maths.confidence import interval

SPACING = 0.25  # distance of the radii in the table: that of the published tables
ENVELOPE = "envelope"  # the name under which the best of the Gaussian-trained models stands at each radius
POINTS = ("model", "sigma", "radius", "accuracy", "low", "high", "n")  # the table's columns, at least


@dataclass(frozen=True)
class Certificates:
    """The certificates of a model at one sigma: the table's rows, one an image, and its facts."""

    rows: pd.DataFrame
    facts: dict

    @property
    def is_grid(self) -> bool:
        """Whether the radii of interest alone were decided."""
        return self.facts.get("mode") == "grid"

    @property
    def radii(self) -> np.ndarray:
        """Radii of the table of certified accuracy: those of interest in grid mode, else every SPACING."""
        return (
            np.array(self.facts["radii"]) if self.is_grid else np.arange(0, self.rows.radius.max() + SPACING, SPACING)
        )

    def accuracy(self, radius: float) -> tuple[float, float, float, int]:
        """Return (certified accuracy at `radius`, low, high, n)."""
        hits, n = int(((self.rows.correct == 1) & (self.rows.radius >= radius)).sum()), len(self.rows)
        return hits / n, *interval(hits, n), n

    @property
    def average_radius(self) -> float:
        """The mean certified radius, 0 where wrong or abstained (Zhai et al. 2020, arXiv 2001.02378)."""
        return float((self.rows.radius * (self.rows.correct == 1)).mean())

    @property
    def shares(self) -> np.ndarray:
        """The estimate of p_A of each image: the share of its draws that say its class; 0 where wrong or abstained.

        Where the rule stopped early, it did so for what it had seen: the estimates are a little too far from 1/2.
        Empty where the table does not have the votes.
        """
        if "successes" not in self.rows:
            return np.array([])
        share = (self.rows.successes / self.rows.draws.where(self.rows.draws > 0)).fillna(0)
        return (share * (self.rows.correct == 1)).to_numpy()

    def points(self) -> list[dict]:
        """Return the certified accuracy at each of `radii`, with the columns POINTS."""
        of = self.facts["model"], self.facts["sigma"]
        return [dict(zip(POINTS, (*of, radius, *self.accuracy(radius)), strict=True)) for radius in self.radii]

    def summary(self) -> dict:
        """Return abstentions, draws, quartiles of p_A, and the average certified radius, and why where there is none.

        That average alone misleads: it grows most with what is easy, and a trivial classifier can have any (Sun et al.
        2025, "Average Certified Radius is a Poor Metric for Randomized Smoothing", arXiv 2410.06895). p_A is theirs.
        """
        rows, facts = self.rows, self.facts
        abstained = int(((rows.predict == -1) & (rows.get("stop", "n") != "skipped")).sum())
        low, high = interval(abstained, len(rows))
        return {
            "model": facts["model"],
            "sigma": facts["sigma"],
            "mode": facts.get("mode", "fixed") + (", label-aware" if facts.get("label_aware") else ""),
            "images": len(rows),
            "abstained": abstained / len(rows),
            "abstained_low": low,
            "abstained_high": high,
            "mean_draws": float(rows.draws.mean()) if "draws" in rows else nan,
            **{f"p_a_{q}": float(np.percentile(self.shares, q)) if len(self.shares) else nan for q in (25, 50, 75)},
            "acr": nan if self.is_grid else self.average_radius,
            "acr_note": "none: grid mode stops drawing where no radius of interest is open" if self.is_grid else "",
        }


def read_certificates(path: Path) -> Certificates:
    """Read a table of certificates and its facts. Raises BadInput where one is missing, foreign or empty."""
    rows = read_table(path, "certify", ("correct", "radius", "predict"))
    return Certificates(rows, read_facts(path, "certify", ("model", "sigma", "n", "alpha")))


def envelope(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, at each radius, the row of the best of the Gaussian-trained models, as the model ENVELOPE.

    Its interval is that of the row chosen: the choice among several adds an optimism that it does not show.
    """
    trained = frame[frame.model.str.startswith("gaussian-")]
    best = trained.loc[trained.groupby("radius").accuracy.idxmax()] if len(trained) else trained
    return best.assign(model=ENVELOPE)


def draw_certified(tables: list[Certificates], frame: pd.DataFrame, published: pd.DataFrame) -> plt.Figure:
    """Return the figure: a curve a table, the envelope of `frame`, and the distribution of p_A in the last panel.

    Where figures were published, each sigma has a panel, with what was published at it.
    """
    sigmas = sorted({table.facts["sigma"] for table in tables}) if len(published) else [None]
    rows = (len(sigmas) + 2) // 2
    size = {"figsize": (TEXT_WIDTH, 3.3 * rows + 0.09 * len(tables)), "layout": "constrained"}
    figure, grid = plt.subplots(rows, 2, squeeze=False, **size)
    panels, best = list(grid.flat), frame[frame.model == ENVELOPE]
    for sigma, axes in zip(sigmas, panels, strict=False):
        reach = 0.0
        for table in tables:
            if sigma in (None, table.facts["sigma"]):
                reach = max(reach, _draw_curve(axes, table))
        if best[best.accuracy > 0].sigma.nunique() > 1:
            style = {"color": "black", "ls": ":", "lw": 1, "drawstyle": "steps-pre"}
            axes.plot(best.radius, best.accuracy, label=view_name(ENVELOPE, 0.0), **style)
        if sigma is not None:
            draw_published(axes, published, sigma)
            axes.set_title(f"σ = {sigma:g}" + "; dashed: published" * (sigma in set(published.sigma)))
        axes.set(xlabel="L2 radius (pixel values in [0, 1])", ylabel="certified accuracy", ylim=(0, 1))
        axes.set_xlim(0, 1.02 * reach or 1)
    _draw_shares(panels[len(sigmas)], tables)
    for axes in panels[len(sigmas) + 1 :]:
        axes.remove()
    entries = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries, loc="outside lower center", ncols=2)
    figure.suptitle(_title(tables), fontsize=plt.rcParams["axes.titlesize"])
    return figure


def _draw_shares(axes: Axes, tables: list[Certificates]) -> None:
    """Draw, for each table, the share of images that are right and whose p_A is at least so much."""
    for table in tables:
        if len(shares := np.sort(table.shares[table.shares > 0])):
            model, sigma, n = table.facts["model"], table.facts["sigma"], len(table.rows)
            above = np.arange(len(shares), 0, -1) / n
            x, y = np.concatenate([[0.5], shares, [1.0]]), np.concatenate([[above[0]], above, [0.0]])
            axes.plot(x, y, color=view_colour(model, sigma), drawstyle="steps-pre")
    axes.set(xlabel="p_A: share of draws that say the class", ylabel="images right, with p_A at least that")
    axes.set(xlim=(0.5, 1), ylim=(0, 1), title="distribution of p_A (Sun et al. 2025)")


def _draw_curve(axes: Axes, table: Certificates) -> float:
    """Draw a table's curve, a band over its intervals; return the radius that it reaches."""
    model, sigma = table.facts["model"], table.facts["sigma"]
    colour, label = view_colour(model, sigma), view_name(model, sigma)
    certified = table.rows.radius[table.rows.correct == 1].to_numpy()
    # A staircase that falls just behind each certified radius: between the radii of interest no line says more.
    decided = table.radii[table.radii <= certified.max(initial=0)] if table.is_grid else []
    radii = np.unique([0.0, *certified, *decided])
    marked = np.searchsorted(radii, decided).tolist() if table.is_grid else 0.1
    values = np.array([table.accuracy(radius)[:3] for radius in radii])
    radii, values = np.append(radii, radii[-1]), np.vstack([values, [0, *interval(0, len(table.rows))]])
    if not table.is_grid:
        label += f" (ACR {floor(1000 * table.average_radius) / 1000:.3f})"
    line = {"label": label, "color": colour, "marker": view_marker(model), "markevery": marked}
    axes.plot(radii, values[:, 0], drawstyle="steps-pre", **line)
    axes.fill_between(radii, values[:, 1], values[:, 2], alpha=0.15, color=colour, lw=0, step="pre")
    return radii[-1]


def _title(tables: list[Certificates]) -> str:
    def each(values: Iterable[object]) -> str:
        return " / ".join(dict.fromkeys(map(str, values)))

    counts = each(len(table.rows) for table in tables)
    draws = each(f"{table.facts['n']:,}" for table in tables)
    alphas, modes = (each(table.facts.get(name) for table in tables) for name in ("alpha", "mode"))
    return f"{counts} test images, mode {modes}, n ≤ {draws} draws, α = {alphas}; bands: 95 % over images"
