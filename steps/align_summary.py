"""align_summary: the measures of every view -> means over images with 95 % intervals, and what they say.

An image's value is the mean over its ascents (one a target class); intervals are bootstrapped over images. Whether the
hypothesis (standard < smoothed) holds is told from the interval of the paired difference over the images of both.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from pagoda.data.measures import JUDGES, MEASURES, REPORTED, Measure, View, read_view
from pagoda.errors import BadInput
from pagoda.files import write_text
from pagoda.maths.bootstrap import mean_interval
from pagoda.options import Options, option
from pagoda.run.command import main

ENOUGH = 5
"""Images from which on a hypothesis is decided: a bootstrap over fewer says little."""


class Config(Options):
    """Summarise the measures of every view."""

    tables: tuple[Path, ...] = option("tables (.csv) that the align step wrote, each with its .json")
    out: Path = option("where the summary (.csv) goes; the same to read (.md) goes beside it")
    epsilon: float = option("the epsilon that the .md shows; the .csv has all", gt=0)
    gate: float = option("split-half cosine below which N is called too small", 0.5)
    resamples: int = option("of the bootstrap", 10_000, ge=1)
    seed: int = option("of the bootstrap", 0)


def run(config: Config) -> pd.DataFrame:
    """Write both files and return the summary. Raises BadInput where a table is missing, foreign or empty."""
    if not config.tables:
        raise BadInput("no tables: a summary needs at least one that the align step wrote")
    views = [read_view(path) for path in config.tables]
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


def _summarise(view: View, epsilon: float, config: Config) -> dict:
    images = view.by_image(epsilon)
    row = {key: view.facts[key] for key in ("view", "model", "sigma", "start", "objective")}
    row |= {"epsilon": epsilon, "n": len(images), "ascents": int((view.rows.epsilon == epsilon).sum())}
    for measure in (*MEASURES, *REPORTED):
        values = images[measure.column].to_numpy(float)
        mean, low, high, n = mean_interval(values, config.resamples, config.seed)
        name = measure.column
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_n": n}
    return row | {"flags": "; ".join(_flags(view, row, config))}


def _flags(view: View, row: dict, config: Config) -> list[str]:
    flags = []
    if row["n"] == 1:
        flags.append("one image: intervals are undefined")
    elif row["n"] < ENOUGH:
        flags.append(f"{row['n']} images are few: nothing is decided from fewer than {ENOUGH}")
    for gate in ("split_half", "own_split_half"):
        if row[gate] < config.gate:
            which = "" if gate == "split_half" else " of the own class"
            flags.append(
                f"N = {view.facts['draws']} is too small: split-half cosine{which} {row[gate]:.2f} < {config.gate:g}"
            )
    flags += [
        f"judge {JUDGES[name]}: below twice chance, accuracy {judge['accuracy']:.2f}"
        for name, judge in view.facts["judges"].items()
        if judge["accuracy"] < 2 * judge["chance"]
    ]
    if view.facts["start"] == "seeds":
        flags.append("judge class Gaussians: left out, as seeds are drawn from such")
    return flags


def _cell(row: pd.Series, column: str) -> str:
    value, low, high, n = (row[f"{column}{suffix}"] for suffix in ("", "_low", "_high", "_n"))
    if np.isnan(value):
        return "–"
    interval = f"[{low:.3f}, {high:.3f}]" if np.isfinite(low) else "[undefined]"
    return f"{value:.3f} {interval}" + ("" if n == row["n"] else f" (n = {n})")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(views: list[View], summary: pd.DataFrame, config: Config) -> str:
    header = ["view", "images (ascents)", *(m.heading for m in (*MEASURES, *REPORTED))]
    rows = [
        [row.view, f"{row.n} ({row.ascents})", *(_cell(row, m.column) for m in (*MEASURES, *REPORTED))]
        for _, row in summary.iterrows()
    ]
    draws = sorted({view.facts["draws"] for view in views if view.facts["sigma"] > 0})
    told = f"Gradients from N = {', '.join(map(str, draws))} draws. " if draws else ""
    flags = [f"- {row.view}: {row['flags']}" for _, row in summary.iterrows() if row["flags"]]
    parts = [
        "# Alignment",
        f"ε = {config.epsilon:g}. Means over images, each the mean over its ascents; in brackets 95 % bootstrap "
        f"intervals over images ({config.resamples:,} resamples, seed {config.seed}). {told}An arrow points where the "
        "better values lie. White noise has a high-frequency fraction of 0.80.",
        _table(header, rows),
        *(["Flags:\n\n" + "\n".join(flags)] if flags else []),
        "## Does the hypothesis hold: standard < smoothed?",
        "\n".join(f"- {sentence}" for sentence in hypotheses(views, config)),
        *_controls(views, config),
        "## Judges",
        _table(*_judges(views)),
    ]
    return "\n\n".join(parts) + "\n"


def _the(views: list[View], objective: str, smoothed: bool) -> list[View]:
    return [view for view in views if view.is_a(objective, smoothed)]


def hypotheses(views: list[View], config: Config) -> list[str]:
    """Return one sentence a measure: whether standard, unsmoothed, is worse than Gaussian-trained, smoothed."""
    standard, smoothed = _the(views, "standard", False), _the(views, "gaussian", True)
    if not standard or not smoothed:
        return ["Not tested: it takes a standard, unsmoothed view and a smoothed one of a Gaussian-trained model."]
    sentences = []
    for measure in MEASURES:
        clauses = [
            f"{verdict(standard[0], view, measure, config)} for {view.name}, against {standard[0].name}"
            for view in smoothed
        ]
        sentences.append(f"{measure.name[0].upper()}{measure.name[1:]}: the hypothesis {'; it '.join(clauses)}.")
    return sentences


def _controls(views: list[View], config: Config) -> list[str]:
    """Return the section on what smoothing and what training under noise do each: differences, a column a pair."""
    pairs = [
        (before, after)
        for smoothed in _the(views, "gaussian", True)
        for before, after in (
            *((standard, smoothed) for standard in _the(views, "standard", True)),
            *(
                (bare, smoothed)
                for bare in _the(views, "gaussian", False)
                if bare.facts["model"] == smoothed.facts["model"]
            ),
        )
    ]
    pairs += [(a, b) for a in _the(views, "standard", False) for b in _the(views, "standard", True)]
    if not pairs:
        return []
    rows = [
        [
            measure.heading,
            *(_told(mean_interval(_paired(*pair, measure, config), config.resamples, config.seed)) for pair in pairs),
        ]
        for measure in MEASURES
    ]
    header = ["second minus first", *(f"{before.name} → {after.name}" for before, after in pairs)]
    text = "The hypothesis changes training and smoothing at once. One at a time, over the images of both views:"
    return ["## Controls", text, _table(header, rows)]


def _paired(before: View, after: View, measure: Measure, config: Config) -> np.ndarray:
    first, second = (view.by_image(config.epsilon)[measure.column] for view in (before, after))
    return (second - first).to_numpy(float)


def _told(found: tuple[float, float, float, int]) -> str:
    mean, low, high, n = found
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}], n = {n}" if n > 1 else f"undefined, n = {n}"


def verdict(before: View, after: View, measure: Measure, config: Config) -> str:
    """Say what the paired differences of two views over the images of both mean for the hypothesis."""
    found = mean_interval(_paired(before, after, measure, config), config.resamples, config.seed)
    mean, low, high, n = found
    told = f"smoothed − standard = {_told(found)}"
    if n < ENOUGH:
        few = f"{n} images are few; {told}" if n > 1 else f"the interval is undefined with n = {n}"
        return f"is not decided ({few})"
    if weak := _weakness(before, after, measure, config):
        return f"is not decided ({weak}; {told})"
    if low <= 0 <= high:
        return f"is not decided ({told})"
    return f"{'holds' if mean * measure.better > 0 else 'does not hold: the reverse does'} ({told})"


def _weakness(before: View, after: View, measure: Measure, config: Config) -> str:
    """Return why a measure of two views says nothing: its judge is too weak, or N too small; "" where it does."""
    judge = measure.column.removesuffix("_gain")
    for view in (before, after):
        known = view.facts["judges"].get(judge)
        if known and known["accuracy"] < 2 * known["chance"]:
            return f"judge {JUDGES[judge]} is below twice chance"
        gate = {"contrastive": "split_half", "saliency": "own_split_half"}.get(measure.column)
        if gate and view.by_image(config.epsilon)[gate].mean() < config.gate:
            return f"N is too small for {view.name}"
    return ""


def _judges(views: list[View]) -> tuple[list[str], list[list[str]]]:
    facts = next((view.facts for view in views if view.facts["start"] == "images"), views[0].facts)["judges"]
    rows = []
    for name, judge in facts.items():
        sources = f"{judge['sources_accuracy']:.3f} (n = {judge['sources_n']})" if "sources_n" in judge else "–"
        held_out = f"{judge['accuracy']:.3f} [{judge['low']:.3f}, {judge['high']:.3f}], n = {judge['n']}"
        usable = "below twice chance" if judge["accuracy"] < 2 * judge["chance"] else ""
        rows.append([JUDGES[name], held_out, sources, f"{judge['chance']:.3f}", usable])
    return ["judge", "accuracy on held-out test images", "on the untouched sources", "chance", ""], rows


if __name__ == "__main__":
    main("align_summary", Config, run)
