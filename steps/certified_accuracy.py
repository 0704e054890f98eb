"""certified_accuracy: tables of certificates -> certified accuracy against radius, as a figure and as a table.

The certified accuracy at radius r is the fraction of images whose certificate is of the right class and of a radius
of at least r (Cohen et al. 2019, section 4); abstentions count as wrong. Intervals are 95 % Clopper-Pearson, over
images.
"""

import json
from dataclasses import dataclass
from math import floor
from pathlib import Path

import numpy as np
import pandas as pd

from steps.maths.confidence import interval
from steps.run.command import main, option
from steps.run.errors import BadInput
from steps.run.figure import plt, save_figure
from steps.run.files import write_text

SPACING = 0.25
"""Distance of the radii in the table, in pixel values: that of the published tables."""


@dataclass(frozen=True)
class Config:
    """Draw certified accuracy against radius."""

    tables: tuple[Path, ...] = option("tables (.tsv) that the certify step wrote, each with its .json")
    out: Path = option("where the PNG goes; the CSV goes beside it")


def run(config: Config) -> pd.DataFrame:
    """Write figure and table, and return the table. Raises BadInput where a table is missing or has no rows."""
    if not config.tables:
        raise BadInput("no tables: certified accuracy needs at least one that the certify step wrote")
    read = [_read(path) for path in config.tables]
    largest = max(rows.radius.max() for rows, _ in read)
    grid = np.arange(0, largest + SPACING, SPACING)
    frame = pd.DataFrame(
        [
            {
                "model": facts["model"],
                "sigma": facts["sigma"],
                "radius": radius,
                **dict(zip(("accuracy", "low", "high", "n"), certified_accuracy(rows, radius), strict=True)),
            }
            for rows, facts in read
            for radius in grid
        ]
    )
    _draw(read, config.out)
    write_text(config.out.with_suffix(".csv"), frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    return frame


def certified_accuracy(rows: pd.DataFrame, radius: float) -> tuple[float, float, float, int]:
    """Return (certified accuracy at `radius`, low, high, n) of a table with the columns correct and radius."""
    hits, n = int(((rows.correct == 1) & (rows.radius >= radius)).sum()), len(rows)
    return hits / n, *interval(hits, n), n


def average_certified_radius(rows: pd.DataFrame) -> float:
    """Return the mean certified radius, 0 where wrong or abstained (Zhai et al. 2020, arXiv 2001.02378)."""
    return float((rows.radius * (rows.correct == 1)).mean())


def _read(path: Path) -> tuple[pd.DataFrame, dict]:
    try:
        rows = pd.read_csv(path, delimiter="\t")
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _ = rows.correct, rows.radius, facts["model"], facts["sigma"], facts["n"], facts["alpha"]
    except FileNotFoundError as error:
        raise BadInput(f"no {error.filename}: the certify step writes it") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is not a table that the certify step wrote: {error}") from None
    if rows.empty:
        raise BadInput(f"{path} has no rows")
    return rows, facts


def _draw(read: list[tuple[pd.DataFrame, dict]], out: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4.4), layout="constrained")
    for rows, facts in read:
        # The curve is a staircase that falls just behind each certified radius.
        radii = np.unique(np.concatenate([[0.0], rows.radius[rows.correct == 1]]))
        steps = np.array([certified_accuracy(rows, radius)[:3] for radius in radii])
        edges, steps = np.append(radii, radii[-1]), np.vstack([steps, [0, *interval(0, len(rows))]])
        label = (
            f"{facts['model']}, σ = {facts['sigma']:g} (ACR {floor(1000 * average_certified_radius(rows)) / 1000:.3f})"
        )
        (line,) = axes.step(edges, steps[:, 0], where="pre", label=label)
        axes.fill_between(edges, steps[:, 1], steps[:, 2], step="pre", alpha=0.15, color=line.get_color(), lw=0)
    facts = read[0][1]
    axes.set(xlabel="L2 radius (pixel values in [0, 1])", ylabel="certified accuracy", ylim=(0, 1), xlim=(0, None))
    counts = " / ".join(str(n) for n in sorted({len(rows) for rows, _ in read}))
    axes.set_title(
        f"{counts} test images, n = {facts['n']:,} draws, α = {facts['alpha']:g}; bands: 95 % over images",
        fontsize=10,
    )
    axes.legend(fontsize=9)
    save_figure(figure, out)


if __name__ == "__main__":
    main("certified_accuracy", Config, run)
