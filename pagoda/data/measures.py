"""The measures of a view as the align step writes them: a table (.csv, a row an ascent) and its facts (.json)."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pagoda.errors import BadInput

JUDGES = {"knn": "nearest neighbours", "qda": "class Gaussians", "net": "small net"}
"""The judges by the name of their columns."""
NUMBERS_NA = {name: [""] for name in ("split_half", "own_split_half", "contrastive", "saliency", "high_frequency")}
"""Where nothing stands for NaN; class names, whatever they are, stay as they stand."""
TEXT = ("view", "model", "start", "target", "label", *(f"{j}_{when}" for j in JUDGES for when in ("before", "after")))


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
    Measure("contrastive", "contrastive cosine", 1),
    Measure("knn_gain", f"judge gain, {JUDGES['knn']}", 1),
    Measure("qda_gain", f"judge gain, {JUDGES['qda']}", 1),
    Measure("net_gain", f"judge gain, {JUDGES['net']}", 1),
    Measure("high_frequency", "high-frequency fraction", -1),
    Measure("saliency", "saliency cosine", 1),
)
REPORTED = (
    Measure("split_half", "split-half cosine", 0),
    Measure("own_split_half", "split-half cosine, own class", 0),
    Measure("p_before", "p̄_t before", 0),
    Measure("p_after", "p̄_t after", 0),
    Measure("norm", "‖δ‖", 0),
)


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


def read_view(path: Path) -> View:
    """Read a view's measures. Raises BadInput where the table is missing, empty or something else."""
    try:
        rows = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False, na_values=NUMBERS_NA)
        facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        _ = facts["view"], facts["objective"], facts["sigma"], facts["start"], facts["judges"], facts["draws"]
        for judge in JUDGES:
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
