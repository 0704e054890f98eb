"""align_summary: the measures of every view -> means over images with 95 % intervals, and what they say.

An image's value is the mean over its ascents (one a target class); intervals are bootstrapped over images. Whether the
hypothesis (standard < smoothed) holds is told from the interval of the paired difference over the images of both.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from steps.maths.bootstrap import mean_interval
from steps.run.command import main, option
from steps.run.errors import BadInput
from steps.run.files import write_text

JUDGED = ("knn", "qda", "net")
TEXT = ("view", "model", "start", "target", "label", *(f"{j}_{when}" for j in JUDGED for when in ("before", "after")))


@dataclass(frozen=True)
class Measure:
    """A measure: its column, what the summary calls it, and the sign of the better direction (0: neither)."""

    column: str
    name: str
    better: int

    @property
    def heading(self) -> str:
        """Its name, with an arrow for the better direction."""
        return self.name + {1: " ↑", -1: " ↓", 0: ""}[self.better]


MEASURES = (
    Measure("contrastive", "contrastive class-mean cosine", 1),
    Measure("knn_gain", "judge gain, knn", 1),
    Measure("qda_gain", "judge gain, qda", 1),
    Measure("net_gain", "judge gain, net", 1),
    Measure("high_frequency", "high-frequency fraction", -1),
    Measure("saliency", "centred saliency cosine", 1),
)
REPORTED = (
    Measure("split_half", "split-half cosine", 0),
    Measure("p_before", "p̄_t before", 0),
    Measure("p_after", "p̄_t after", 0),
    Measure("norm", "‖δ‖", 0),
)


@dataclass(frozen=True)
class Config:
    """Summarise the measures of every view."""

    tables: tuple[Path, ...] = option("tables (.csv) that the align step wrote, each with its .json")
    out: Path = option("where the summary (.csv) goes; the same to read (.md) goes beside it")
    epsilon: float = option("the epsilon, in pixel values, that the .md shows; the .csv has all")
    gate: float = option("split-half cosine below which N is called too small", default=0.5)
    resamples: int = option("of the bootstrap", default=10_000)
    seed: int = option("of the bootstrap", default=0)


@dataclass(frozen=True)
class View:
    """A view's table, a row an ascent, and its facts."""

    rows: pd.DataFrame
    facts: dict

    @property
    def name(self) -> str:
        """What it is called."""
        return self.facts["view"]

    def is_a(self, objective: str, smoothed: bool) -> bool:
        """Tell whether it is of a model of that objective, smoothed or not, ascending from images."""
        facts = self.facts
        return (facts["objective"], facts["sigma"] > 0, facts["start"]) == (objective, smoothed, "images")

    def by_image(self, epsilon: float) -> pd.DataFrame:
        """Return every measure at an epsilon as means over the ascents of an image, a row an image."""
        rows = self.rows[self.rows.epsilon == epsilon]
        # A seed is another one for each class.
        images = [rows["index"], rows.target if self.facts["start"] != "images" else rows.start]
        return rows.groupby(images)[[m.column for m in (*MEASURES, *REPORTED)]].mean()


def run(config: Config) -> pd.DataFrame:
    """Write both files and return the summary. Raises BadInput where a table is missing, foreign or empty."""
    if not config.tables:
        raise BadInput("no tables: a summary needs at least one that the align step wrote")
    if config.resamples < 1:
        raise BadInput(f"resamples is {config.resamples}: must be at least 1")
    views = [_read(path) for path in config.tables]
    radii = sorted({epsilon for view in views for epsilon in view.rows.epsilon})
    if config.epsilon not in radii:
        known = ", ".join(f"{radius:g}" for radius in radii)
        raise BadInput(f"epsilon is {config.epsilon:g}: the tables have {known}")
    summary = pd.DataFrame(
        [_summarise(view, radius, config) for view in views for radius in radii if (view.rows.epsilon == radius).any()]
    )
    write_text(config.out, summary.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    write_text(config.out.with_suffix(".md"), _page(views, summary[summary.epsilon == config.epsilon], config))
    return summary


def _read(path: Path) -> View:
    try:
        rows = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=NUMBERS_NA)
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _ = facts["view"], facts["objective"], facts["sigma"], facts["start"], facts["judges"], facts["draws"]
        for judge in JUDGED:
            gain = (rows[f"{judge}_after"] == rows.target).astype(float) - (rows[f"{judge}_before"] == rows.target)
            rows[f"{judge}_gain"] = gain.where(rows[f"{judge}_after"] != "")
        _ = rows[["index", "target", "start", "epsilon", *(m.column for m in (*MEASURES, *REPORTED))]]
    except FileNotFoundError as error:
        raise BadInput(f"no {error.filename}: the align step writes it") from None
    except (ValueError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is not a table that the align step wrote: {error}") from None
    if rows.empty:
        raise BadInput(f"{path} has no rows")
    return View(rows, facts)


NUMBERS_NA = {name: [""] for name in ("split_half", "contrastive", "saliency", "high_frequency")}
"""Where nothing stands for NaN; class names, whatever they are, stay as they stand."""


def _summarise(view: View, epsilon: float, config: Config) -> dict:
    images = view.by_image(epsilon)
    row = {key: view.facts[key] for key in ("view", "model", "sigma", "start", "objective")}
    row |= {"epsilon": epsilon, "n": len(images)}
    for measure in (*MEASURES, *REPORTED):
        values = images[measure.column].to_numpy(float)
        row[measure.column], low, high, _ = mean_interval(values, config.resamples, config.seed)
        row |= {f"{measure.column}_low": low, f"{measure.column}_high": high}
    flags = []
    if len(images) == 1:
        flags.append("one image: intervals are undefined")
    if row["split_half"] < config.gate:
        flags.append(
            f"N = {view.facts['draws']} is too small: split-half cosine {row['split_half']:.2f} < {config.gate:g}"
        )
    for name, judge in view.facts["judges"].items():
        if judge["accuracy"] < 2 * judge["chance"]:
            flags.append(f"judge {name} is below twice chance: accuracy {judge['accuracy']:.2f}")
    if view.facts["start"] == "seeds":
        flags.append("qda would be circular: seeds are drawn from such Gaussians")
    return row | {"flags": "; ".join(flags)}


def _cell(row: pd.Series, column: str) -> str:
    value, low, high = row[column], row[f"{column}_low"], row[f"{column}_high"]
    if np.isnan(value):
        return "–"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]" if np.isfinite(low) else f"{value:.3f} [undefined]"


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(views: list[View], summary: pd.DataFrame, config: Config) -> str:
    header = ["view", "n", *(m.heading for m in (*MEASURES, *REPORTED))]
    rows = [
        [row.view, str(row.n), *(_cell(row, m.column) for m in (*MEASURES, *REPORTED))] for _, row in summary.iterrows()
    ]
    draws = sorted({view.facts["draws"] for view in views if view.facts["sigma"] > 0})
    told = f"Gradients from N = {', '.join(map(str, draws))} draws. " if draws else ""
    flags = [f"- {row.view}: {row['flags']}" for _, row in summary.iterrows() if row["flags"]]
    parts = [
        "# Alignment",
        f"ε = {config.epsilon:g}. Means over n images; in brackets 95 % bootstrap intervals over images "
        f"({config.resamples:,} resamples, seed {config.seed}). {told}An arrow points where the better values lie. "
        "White noise has a high-frequency fraction of 0.80.",
        _table(header, rows),
        *(["Flags:\n\n" + "\n".join(flags)] if flags else []),
        "## Does the hypothesis hold: standard < smoothed?",
        "\n".join(f"- {sentence}" for sentence in hypotheses(views, config)),
        "## Judges",
        _table(*_judges(views)),
    ]
    return "\n\n".join(parts) + "\n"


def hypotheses(views: list[View], config: Config) -> list[str]:
    """Return one sentence a measure: whether standard, unsmoothed, is worse than Gaussian-trained, smoothed."""
    standard = [view for view in views if view.is_a("standard", smoothed=False)]
    smoothed = [view for view in views if view.is_a("gaussian", smoothed=True)]
    if not standard or not smoothed:
        return ["Not tested: it takes a standard, unsmoothed view and a smoothed one of a Gaussian-trained model."]
    before = standard[0].by_image(config.epsilon)
    sentences = []
    for measure in MEASURES:
        clauses = []
        for view in smoothed:
            difference = (view.by_image(config.epsilon)[measure.column] - before[measure.column]).to_numpy(float)
            clauses.append(f"{verdict(difference, measure, config)} for {view.name}")
        sentences.append(f"{measure.name[0].upper()}{measure.name[1:]}: the hypothesis {'; it '.join(clauses)}.")
    return sentences


def verdict(difference: np.ndarray, measure: Measure, config: Config) -> str:
    """Say what the paired differences, smoothed minus standard, [n], NaN where undefined, mean for the hypothesis."""
    mean, low, high, n = mean_interval(difference, config.resamples, config.seed)
    if n < 2:
        return f"is not decided (the interval is undefined with n = {n})"
    told = f"(smoothed − standard = {mean:+.3f} [{low:+.3f}, {high:+.3f}], n = {n})"
    if low <= 0 <= high:
        return f"is not decided {told}"
    return f"{'holds' if mean * measure.better > 0 else 'does not hold: the reverse does'} {told}"


def _judges(views: list[View]) -> tuple[list[str], list[list[str]]]:
    facts = next((view.facts for view in views if view.facts["start"] == "images"), views[0].facts)["judges"]
    rows = []
    for name, judge in facts.items():
        sources = f"{judge['sources_accuracy']:.3f} (n = {judge['sources_n']})" if "sources_n" in judge else "–"
        held_out = f"{judge['accuracy']:.3f} [{judge['low']:.3f}, {judge['high']:.3f}], n = {judge['n']}"
        usable = "below twice chance" if judge["accuracy"] < 2 * judge["chance"] else ""
        rows.append([name, held_out, sources, f"{judge['chance']:.3f}", usable])
    return ["judge", "accuracy on held-out test images", "on the untouched sources", "chance", ""], rows


if __name__ == "__main__":
    main("align_summary", Config, run)
