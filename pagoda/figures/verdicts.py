"""What the judges see in the ascents' ends: from the tables of the align step."""

from pathlib import Path

import pandas as pd

from pagoda.data.ascents import Ascent
from pagoda.errors import BadInput

JUDGES = ("knn", "qda", "net")
KEY = ("view", "epsilon", "target", "index")
Verdicts = dict[tuple, tuple[int, int]]
"""(view, epsilon, target, index) -> how many judges see the target class in the end, and how many judge it."""


def read_verdicts(paths: tuple[Path, ...]) -> Verdicts:
    """Read the tables of views. Raises BadInput where one is missing or none that the align step wrote."""
    found: Verdicts = {}
    columns = [*KEY, *(f"{judge}_after" for judge in JUDGES)]
    for path in paths:
        try:
            # As text: a class may be named 3, or nan.
            table = pd.read_csv(path, dtype=str, keep_default_na=False)[columns]
            table = table.astype({"epsilon": float, "index": int})
        except FileNotFoundError:
            raise BadInput(f"no measures at {path}: the align step writes them") from None
        except (KeyError, ValueError) as error:
            raise BadInput(f"{path} is not a table that the align step wrote: {error}") from None
        for view, epsilon, target, index, *seen in table.itertuples(index=False, name=None):
            judged = [name for name in seen if name]
            found[view, epsilon, target, index] = judged.count(target), len(judged)
    if paths and not found:
        raise BadInput(f"no measures in {', '.join(map(str, paths))}: the tables have no rows")
    return found


def verdict(verdicts: Verdicts, ascent: Ascent, source: int) -> str:
    """Return e.g. "2/3", judges that see the target class of those that judge, for the end from source number `source`.

    Raises:
        BadInput: where the tables have no row for that picture.

    """
    s, index = ascent.settings, int(ascent.index[source])
    key = (s.view, float(s.epsilon), s.target, index)
    if key not in verdicts:
        raise BadInput(
            f"no measures of {s.view}, ε = {s.epsilon:g}, class {s.target!r}, image #{index}: --measures must have a "
            "row for each picture shown, or be empty"
        )
    seen, judges = verdicts[key]
    return f"{seen}/{judges}"
