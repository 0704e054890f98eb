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
from matplotlib.patheffects import withStroke

import pagoda
from pagoda.data.tables import read_facts, read_table
from pagoda.errors import BadInput
from pagoda.figures.style import MARKERS, SIZES, plt, view_colour
from pagoda.maths.confidence import difference_interval, interval

SPACING = 0.25  # distance of the radii in the table: that of the published tables
PUBLISHED = Path(pagoda.__file__).parent / "data" / "published.csv"
PUBLISHED_IMAGES = 500  # over how many images the published accuracies are
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

    def points(self) -> list[dict]:
        """Return the certified accuracy at each of `radii`, with the columns POINTS."""
        of = self.facts["model"], self.facts["sigma"]
        return [dict(zip(POINTS, (*of, radius, *self.accuracy(radius)), strict=True)) for radius in self.radii]

    def summary(self) -> dict:
        """Return abstentions, draws and the average certified radius, and why where there is none."""
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
            "acr": nan if self.is_grid else self.average_radius,
            "acr_note": "none: grid mode stops drawing where no radius of interest is open" if self.is_grid else "",
        }


def read_certificates(path: Path) -> Certificates:
    """Read a table of certificates and its facts. Raises BadInput where one is missing, foreign or empty."""
    rows = read_table(path, "certify", ("correct", "radius", "predict"))
    return Certificates(rows, read_facts(path, "certify", ("model", "sigma", "n", "alpha")))


def read_published(dataset: str) -> pd.DataFrame:
    """Return the published accuracies on a dataset, none for "". Raises BadInput where there are none of it."""
    known = pd.read_csv(PUBLISHED)
    if dataset and dataset not in set(known.dataset):
        raise BadInput(f"no published figures of {dataset!r}: choose from {', '.join(sorted(set(known.dataset)))}")
    return known[known.dataset == dataset]


def envelope(frame: pd.DataFrame) -> pd.DataFrame:
    """Return, at each radius, the row of the best of the Gaussian-trained models, as the model ENVELOPE.

    Its interval is that of the row chosen: the choice among several adds an optimism that it does not show.
    """
    trained = frame[frame.model.str.startswith("gaussian-")]
    best = trained.loc[trained.groupby("radius").accuracy.idxmax()] if len(trained) else trained
    return best.assign(model=ENVELOPE)


def compare(frame: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the published accuracy beside that of Gaussian-trained models, and the difference.

    Its 95 % interval is that of two independent samples of images (`difference_interval`): where they share images,
    it is too wide. Other rows, and radii that were not published, have none.
    """
    names = ["published", "difference", "difference_low", "difference_high"]
    known = {(row.sigma, row.radius): row.accuracy for row in published.itertuples()}
    rows = []
    for row in frame.itertuples():
        theirs = known.get((row.sigma, row.radius)) if f"{row.model}-".startswith(f"gaussian-{row.sigma:g}-") else None
        if theirs is None:
            rows.append([nan] * len(names))
            continue
        counts = [(round(share * n), n) for share, n in ((row.accuracy, row.n), (theirs, PUBLISHED_IMAGES))]
        rows.append([theirs, row.accuracy - theirs, *difference_interval(*counts)])
    return frame.join(pd.DataFrame(rows, columns=names, index=frame.index))


def draw_certified(tables: list[Certificates], frame: pd.DataFrame, published: pd.DataFrame) -> plt.Figure:
    """Return the figure: a curve a table, the envelope of `frame`, and the published curves in grey."""
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    furthest = max(_draw_curve(axes, table, MARKERS[k % len(MARKERS)]) for k, table in enumerate(tables))
    best = frame[frame.model == ENVELOPE]
    if best[best.accuracy > 0].sigma.nunique() > 1:
        axes.plot(best.radius, best.accuracy, color="black", ls=":", lw=1, drawstyle="steps-pre", label=ENVELOPE)
    for number, (sigma, curve) in enumerate(published.groupby("sigma")):
        label = f"{curve.model.iloc[0]}, {curve.source.iloc[0]}" if number == 0 else None
        axes.plot(curve.radius, curve.accuracy, color="grey", ls="--", lw=0.8, drawstyle="steps-pre", label=label)
        halo = [withStroke(linewidth=3, foreground="white")]
        place = {"xy": (0.02, curve.accuracy.iloc[0]), "va": "bottom", "path_effects": halo, "zorder": 3}
        axes.annotate(f"σ = {sigma:g}", color="grey", fontsize=SIZES["note"], **place)
    axes.set(xlabel="L2 radius (pixel values in [0, 1])", ylabel="certified accuracy", ylim=(0, 1))
    axes.set_xlim(0, 1.02 * furthest or 1)
    axes.set_title(_title(tables))
    axes.legend()
    return figure


def _draw_curve(axes: Axes, table: Certificates, marker: str) -> float:
    """Draw a table's curve, a band over its intervals; return the radius that it reaches."""
    model, sigma = table.facts["model"], table.facts["sigma"]
    colour, label = view_colour(model, sigma), f"{model}, σ = {sigma:g}"
    certified = table.rows.radius[table.rows.correct == 1].to_numpy()
    # A staircase that falls just behind each certified radius: between the radii of interest no line says more.
    decided = table.radii[table.radii <= certified.max(initial=0)] if table.is_grid else []
    radii = np.unique([0.0, *certified, *decided])
    marked = np.searchsorted(radii, decided).tolist() if table.is_grid else 0.1
    values = np.array([table.accuracy(radius)[:3] for radius in radii])
    radii, values = np.append(radii, radii[-1]), np.vstack([values, [0, *interval(0, len(table.rows))]])
    if not table.is_grid:
        label += f" (ACR {floor(1000 * table.average_radius) / 1000:.3f})"
    line = {"label": label, "color": colour, "marker": marker, "markevery": marked}
    axes.plot(radii, values[:, 0], drawstyle="steps-pre", **line)
    axes.fill_between(radii, values[:, 1], values[:, 2], alpha=0.15, color=colour, lw=0, step="pre")
    return radii[-1]


def _title(tables: list[Certificates]) -> str:
    def each(values: Iterable[object]) -> str:
        return " / ".join(dict.fromkeys(map(str, values)))

    counts = each(len(table.rows) for table in tables)
    draws = each(f"{table.facts['n']:,}" for table in tables)
    alphas, modes = (each(table.facts.get(name) for table in tables) for name in ("alpha", "mode"))
    return f"{counts} test images, {modes}, n ≤ {draws} draws, α = {alphas}; bands: 95 % over images"
