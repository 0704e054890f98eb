"""The measures of a view as the align step writes them: a table (.csv, a row an ascent) and its facts (.json)."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pagoda.data.ascents import Settings
from pagoda.data.registry import COLUMNS, JUDGES, MEASURES, OTHERS
from pagoda.data.tables import SEEN, read_facts, read_table
from pagoda.data.views import View
from pagoda.errors import BadInput

Rows = dict[tuple, dict]
"""Rows of views' tables by (view, epsilon, target, index): one a picture."""


@dataclass(frozen=True)
class Alignment:
    """The measures of a view: the table's rows, one an ascent, and its facts."""

    rows: pd.DataFrame
    facts: dict

    @property
    def view(self) -> View:
        """The view measured."""
        return View(self.facts["model"], self.facts["sigma"], self.facts["start"])

    def by_image(self, epsilon: float) -> pd.DataFrame:
        """Return every measure at an epsilon as means over the ascents of an image, a row an image."""
        rows = self.rows[self.rows.epsilon == epsilon]
        # A seed is another one for each class.
        images = [rows["index"], rows.target if self.facts["start"] != "images" else rows.start]
        return rows.groupby(images)[COLUMNS].mean()


def read_alignment(path: Path) -> Alignment:
    """Read a view's measures. Raises BadInput where the table is missing, empty or something else."""
    known = [measure.column for measure in (*MEASURES, *OTHERS) if not measure.judge]
    rows = read_table(path, "align", ["index", "target", "start", "epsilon", *known, *SEEN])
    for judge in (judge.name for judge in JUDGES):
        gain = (rows[f"{judge}_after"] == rows.target).astype(float) - (rows[f"{judge}_before"] == rows.target)
        rows[f"{judge}_gain"] = gain.where(rows[f"{judge}_after"] != "")
    return Alignment(
        rows, read_facts(path, "align", ["model", "objective", "sigma", "start", "judges", "draws", "reference_sigma"])
    )


def read_rows(paths: Iterable[Path], needed: Iterable[str]) -> Rows:
    """Read the tables of views. Raises BadInput as `read_table` does where one lacks a column of `needed`."""
    columns = ["view", "epsilon", "target", "index", *needed]
    tables = [read_table(path, "align", columns) for path in paths]
    rows = [row for table in tables for row in table.to_dict("records")]
    return {(row["view"], f"{row['epsilon']:g}", row["target"], row["index"]): row for row in rows}


def row_of(rows: Rows, settings: Settings, index: int) -> dict:
    """Return the row of an ascent's end, from source `index`. Raises BadInput where there is none."""
    key = settings.view.label, f"{settings.epsilon:g}", settings.target, index
    if key not in rows:
        raise BadInput(
            f"no measures of {settings.view.label}, ε = {settings.epsilon:g}, class {settings.target!r}, image "
            f"#{index}: the align step writes them"
        )
    return rows[key]
