"""Tables and facts that steps wrote, read back: .csv or .tsv, and the .json beside."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from pagoda.data.registry import JUDGES
from pagoda.errors import BadInput

SEEN = [f"{judge.name}_{when}" for judge in JUDGES for when in ("before", "after")]  # what judges see
TEXT = ("view", "model", "start", "objective", "target", "label", "flags", "mode", "stop", "time", "source", *SEEN)
"""Columns of names, which stay text, whatever they are: a class may be named 3, or nan."""
FORMAT = {"index": False, "float_format": "%.6g", "lineterminator": "\n"}  # how tables are written


def read_table(path: Path, step: str, needed: Iterable[str]) -> pd.DataFrame:
    """Return a table of `step`, NaN where a number is missing.

    Raises BadInput where the file is missing or foreign, lacks one of the columns `needed`, or has no rows.
    """
    try:
        separator = "\t" if Path(path).suffix == ".tsv" else ","
        table = pd.read_csv(path, sep=separator, keep_default_na=False, dtype=dict.fromkeys(TEXT, str))
        if missing := [name for name in needed if name not in table]:
            raise ValueError(f"it lacks the columns {', '.join(missing)}")
        numbers = {name: pd.to_numeric(table[name].mask(table[name] == "")) for name in table if name not in TEXT}
    except FileNotFoundError:
        raise BadInput(f"no {path}: the {step} step writes it") from None
    except ValueError as error:  # pandas' own errors are of this kind
        raise BadInput(f"{path} is not a table that the {step} step wrote: {' '.join(str(error).split())}") from None
    if table.empty:
        raise BadInput(f"{path} has no rows")
    return table.assign(**numbers)


def read_facts(path: Path, step: str, needed: Iterable[str]) -> dict:
    """Return the facts beside the table at `path`. Raises BadInput as `read_table` does."""
    path = Path(path).with_suffix(".json")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if missing := [name for name in needed if name not in facts]:
            raise ValueError(f"it lacks {', '.join(missing)}")
    except FileNotFoundError:
        raise BadInput(f"no {path}: the {step} step writes it") from None
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} does not say how the {step} step made its table: {error}") from None
    return facts
