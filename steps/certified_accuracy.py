"""certified_accuracy: tables of certificates -> certified accuracy against radius, as a figure and as tables.

The certified accuracy at radius r is the fraction of images whose certificate is of the right class and of a radius
of at least r (Cohen et al. 2019, section 4); abstentions count as wrong. Intervals are 95 % Clopper-Pearson, over
images. The envelope takes at each radius the best of the models trained under Gaussian noise. Where there are published
figures of the dataset, theirs and the difference stand beside.
"""

import json
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.patheffects import withStroke

import pagoda
from pagoda.errors import BadInput
from pagoda.figures.style import MARKERS, SIZES, plt, save_figure, view_colour
from pagoda.files import write_text
from pagoda.maths.confidence import difference_interval, interval
from pagoda.options import Options, option
from pagoda.run.command import main

SPACING = 0.25
"""Distance of the radii in the table, in pixel values: that of the published tables."""
PUBLISHED = Path(pagoda.__file__).parent / "data" / "published.csv"
PUBLISHED_IMAGES = 500
"""Over how many images the published accuracies are."""
ENVELOPE = "envelope"


class Config(Options):
    """Draw certified accuracy against radius."""

    tables: tuple[Path, ...] = option("tables (.tsv) that the certify step wrote, each with its .json")
    out: Path = option("where the figure goes (.png, .pdf or .svg); the CSV and .summary.csv go beside it")
    published: str = option("compare with published figures of this dataset: cifar10, imagenet; empty: none", "")


@dataclass(frozen=True)
class Table:
    """A table of certificates, and what its .json says of it."""

    rows: pd.DataFrame
    facts: dict

    @property
    def radii(self) -> np.ndarray:
        """Radii at which the table tells the certified accuracy: those of interest in grid mode, else any."""
        if self.facts.get("mode") == "grid":
            return np.array(self.facts["radii"])
        return np.arange(0, self.rows.radius.max() + SPACING, SPACING)

    @property
    def label(self) -> str:
        """What the figure calls it."""
        return f"{self.facts['model']}, σ = {self.facts['sigma']:g}"


def run(config: Config) -> pd.DataFrame:
    """Write figure and tables, and return the table. Raises BadInput where one is missing or has no rows."""
    if not config.tables:
        raise BadInput("no tables: certified accuracy needs at least one that the certify step wrote")
    read = [_read(path) for path in config.tables]
    published = _published(config.published)
    frame = pd.DataFrame([_point(table, radius) for table in read for radius in table.radii])
    frame = pd.concat([frame, envelope(frame)], ignore_index=True)
    if len(published):
        frame = compare(frame, published)
    _draw(read, frame, published, config.out)
    layout = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}
    write_text(config.out.with_suffix(".csv"), frame.to_csv(**layout))
    summary = pd.DataFrame([summarise(table) for table in read])
    write_text(config.out.with_suffix(".summary.csv"), summary.to_csv(**layout))
    return frame


def certified_accuracy(rows: pd.DataFrame, radius: float) -> tuple[float, float, float, int]:
    """Return (certified accuracy at `radius`, low, high, n) of a table with the columns correct and radius."""
    hits, n = int(((rows.correct == 1) & (rows.radius >= radius)).sum()), len(rows)
    return hits / n, *interval(hits, n), n


def average_certified_radius(rows: pd.DataFrame) -> float:
    """Return the mean certified radius, 0 where wrong or abstained (Zhai et al. 2020, arXiv 2001.02378)."""
    return float((rows.radius * (rows.correct == 1)).mean())


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
        theirs = known.get((row.sigma, row.radius)) if row.model == f"gaussian-{row.sigma:g}" else None
        if theirs is None:
            rows.append([float("nan")] * len(names))
            continue
        counts = [(round(share * n), n) for share, n in ((row.accuracy, row.n), (theirs, PUBLISHED_IMAGES))]
        rows.append([theirs, row.accuracy - theirs, *difference_interval(*counts)])
    return frame.join(pd.DataFrame(rows, columns=names, index=frame.index))


def summarise(table: Table) -> dict:
    """Return a table's abstentions, draws and average certified radius, and why where there is none."""
    rows, facts = table.rows, table.facts
    abstained = int(((rows.predict == -1) & (rows.get("stop", "n") != "skipped")).sum())
    low, high = interval(abstained, len(rows))
    grid = facts.get("mode") == "grid"
    return {
        "model": facts["model"],
        "sigma": facts["sigma"],
        "mode": facts.get("mode", "fixed") + (", label-aware" if facts.get("label_aware") else ""),
        "images": len(rows),
        "abstained": abstained / len(rows),
        "abstained_low": low,
        "abstained_high": high,
        "mean_draws": float(rows.draws.mean()) if "draws" in rows else float("nan"),
        "acr": float("nan") if grid else average_certified_radius(rows),
        "acr_note": "none: grid mode stops drawing where no radius of interest is open" if grid else "",
    }


def _point(table: Table, radius: float) -> dict:
    values = zip(("accuracy", "low", "high", "n"), certified_accuracy(table.rows, radius), strict=True)
    return {"model": table.facts["model"], "sigma": table.facts["sigma"], "radius": radius, **dict(values)}


def _read(path: Path) -> Table:
    try:
        rows = pd.read_csv(path, delimiter="\t")
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _ = rows.correct, rows.radius, rows.predict, facts["model"], facts["sigma"], facts["n"], facts["alpha"]
    except FileNotFoundError as error:
        raise BadInput(f"no {error.filename}: the certify step writes it") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is not a table that the certify step wrote: {error}") from None
    if rows.empty:
        raise BadInput(f"{path} has no rows")
    return Table(rows, facts)


def _published(dataset: str) -> pd.DataFrame:
    known = pd.read_csv(PUBLISHED)
    if dataset and dataset not in set(known.dataset):
        raise BadInput(f"no published figures of {dataset!r}: choose from {', '.join(sorted(set(known.dataset)))}")
    return known[known.dataset == dataset]


def _draw(read: list[Table], frame: pd.DataFrame, published: pd.DataFrame, out: Path) -> None:
    figure, axes = plt.subplots(figsize=(5, 3.6), layout="constrained")
    furthest = 0.0
    for number, table in enumerate(read):
        style = {
            "color": view_colour(table.facts["model"], table.facts["sigma"]),
            "marker": MARKERS[number % len(MARKERS)],
        }
        rows, grid = table.rows, table.facts.get("mode") == "grid"
        certified = rows.radius[rows.correct == 1].to_numpy()
        radii = table.radii if grid else np.unique(np.concatenate([[0.0], certified]))
        radii = radii[: 1 + int(np.searchsorted(radii, certified.max(initial=0), "right"))]
        values = np.array([certified_accuracy(rows, radius)[:3] for radius in radii])
        if grid:  # the radii of interest alone were decided: points
            axes.plot(radii, values[:, 0], label=table.label, **style)
            axes.fill_between(radii, values[:, 1], values[:, 2], alpha=0.15, color=style["color"], lw=0)
        else:  # a staircase that falls just behind each certified radius
            radii, values = np.append(radii, radii[-1]), np.vstack([values, [0, *interval(0, len(rows))]])
            label = f"{table.label} (ACR {floor(1000 * average_certified_radius(rows)) / 1000:.3f})"
            axes.step(radii, values[:, 0], where="pre", label=label, markevery=0.1, **style)
            axes.fill_between(radii, values[:, 1], values[:, 2], step="pre", alpha=0.15, color=style["color"], lw=0)
        furthest = max(furthest, radii[-1])
    best = frame[frame.model == ENVELOPE]
    if best[best.accuracy > 0].sigma.nunique() > 1:
        axes.plot(best.radius, best.accuracy, color="black", linestyle=":", linewidth=1, label=ENVELOPE)
    for number, (sigma, curve) in enumerate(published.groupby("sigma")):
        label = f"{curve.model.iloc[0]}, {curve.source.iloc[0]}" if number == 0 else None
        axes.plot(curve.radius, curve.accuracy, color="grey", linestyle="--", linewidth=0.8, label=label)
        halo = [withStroke(linewidth=3, foreground="white")]
        place = {"xy": (0.02, curve.accuracy.iloc[0]), "va": "bottom", "path_effects": halo, "zorder": 3}
        axes.annotate(f"σ = {sigma:g}", color="grey", fontsize=SIZES["note"], **place)
    axes.set(xlabel="L2 radius (pixel values in [0, 1])", ylabel="certified accuracy", ylim=(0, 1))
    axes.set_xlim(0, 1.02 * furthest or 1)
    axes.set_title(_title(read))
    axes.legend()
    save_figure(figure, out)


def _title(read: list[Table]) -> str:
    def listed(values: list) -> str:
        return " / ".join(dict.fromkeys(values))

    counts = listed([str(len(table.rows)) for table in read])
    draws = listed([f"{table.facts['n']:,}" for table in read])
    alphas, modes = (listed([f"{table.facts.get(name)}" for table in read]) for name in ("alpha", "mode"))
    return f"{counts} test images, {modes}, n ≤ {draws} draws, α = {alphas}; bands: 95 % over images"


if __name__ == "__main__":
    main("certified_accuracy", Config, run)
