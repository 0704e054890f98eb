"""What the judges see in the ascents' ends: from the tables of the align step."""

from pathlib import Path

from pagoda.data.ascents import Ascent
from pagoda.data.registry import JUDGES
from pagoda.data.tables import read_table
from pagoda.errors import BadInput

KEY = ("view", "epsilon", "target", "index")
Verdicts = dict[tuple, tuple[int, int]]
"""(view, epsilon, target, index) -> how many judges see the target class in the end, and how many judge it."""


def read_verdicts(paths: tuple[Path, ...]) -> Verdicts:
    """Read the tables of views. Raises BadInput where one is missing or none that the align step wrote."""
    found: Verdicts = {}
    columns = [*KEY, *(f"{judge.name}_after" for judge in JUDGES)]
    for path in paths:
        for view, epsilon, target, index, *seen in read_table(path, "align", columns)[columns].itertuples(index=False):
            judged = [name for name in seen if name]
            found[view, epsilon, target, index] = judged.count(target), len(judged)
    return found


def verdict(verdicts: Verdicts, ascent: Ascent, source: int) -> str:
    """Return e.g. "2/3", judges that see the target class of those that judge, for the end from source number `source`.

    Raises:
        BadInput: where the tables have no row for that picture.

    """
    s, index = ascent.settings, int(ascent.index[source])
    key = (s.view.label, float(s.epsilon), s.target, index)
    if key not in verdicts:
        raise BadInput(
            f"no measures of {s.view.label}, ε = {s.epsilon:g}, class {s.target!r}, image #{index}: --measures must "
            "have a row for each picture shown, or be empty"
        )
    seen, judges = verdicts[key]
    return f"{seen}/{judges}"
