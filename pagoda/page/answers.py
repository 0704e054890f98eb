"""Readers' answers to the page's blind test, as the page writes them (.csv), and the page that they are answers to."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pagoda.errors import BadInput

COLUMNS = (
    *("experiment", "config", "pictures", "rater", "question", "seed", "epsilon", "trial", "check", "class"),
    *("source", "left", "right", "answer", "seconds"),
)
SIDES = ("left", "right", "can't tell")


@dataclass(frozen=True)
class Page:
    """What is asked on a page: `pictures` identify it, `views` are names by key, `classes` names.

    `judged` has what the judges see, by (view's key, epsilon, class, source): {judge: class}.
    """

    experiment: str
    pictures: str
    views: dict[str, str]
    classes: tuple[str, ...]
    judges: dict[str, str]
    judged: dict[tuple[str, float, str, str], dict[str, str]]


def read_page(path: Path) -> Page:
    """Read a page. Raises BadInput where it is missing or is none that the gallery step wrote."""
    try:
        found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.S)
        data = json.loads(found.group(1))
        views = [*data["views"], *([data["foil"]["view"]] if data["foil"] else [])]
        judged = {}
        for ascent in data["ascents"]:
            view = data["views"][ascent["view"]]
            for index, measured in zip(ascent["index"], ascent["measures"], strict=True):
                source = str(index) if view["start"] == "images" else f"{ascent['target']}/{index}"
                seen = {name: after for name, (_, after) in (measured or {"judges": {}})["judges"].items()}
                judged[view["key"], ascent["epsilon"], ascent["target"], source] = seen
        return Page(
            experiment=data["experiment"],
            pictures=data["pictures"],
            views={view["key"]: view["name"] for view in views},
            classes=tuple(data["classes"]),
            judges={judge["name"]: judge["label"] for judge in data["judges"]},
            judged=judged,
        )
    except FileNotFoundError:
        raise BadInput(f"no {path}: the gallery step writes it") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} is no page that the gallery step wrote: {error}") from None


def read_answers(paths: tuple[Path, ...], page: Page) -> pd.DataFrame:
    """Return all answers, a row a trial. Raises BadInput where a file is not of this page, or stands twice."""
    tables, known = [], {}
    for path in paths:
        table = _read(path, page)
        for test in set(table[["rater", "question", "seed"]].itertuples(index=False, name=None)):
            if test in known:
                rater, question, seed = test
                raise BadInput(
                    f"{path} and {known[test]} are one test: rater {rater!r}, question {question}, seed {seed}"
                )
            known[test] = path
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _read(path: Path, page: Page) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise BadInput(f"no {path}: the page's blind test writes it") from None
    except ValueError as error:  # pandas' own errors are of this kind
        raise BadInput(f"{path} is no table: {' '.join(str(error).split())}") from None
    if missing := [name for name in COLUMNS if name not in table]:
        raise BadInput(f"{path} is no file of this page's blind test: it lacks the columns {', '.join(missing)}")
    for row in table.to_dict("records"):
        place = f"{path}, trial {row['trial']}"
        if row["experiment"] != page.experiment:
            raise BadInput(f"{place}: of the experiment {row['experiment']!r}, but the page is of {page.experiment!r}")
        if row["pictures"] != page.pictures:
            raise BadInput(f"{place}: of other pictures ({row['pictures']}) than the page's ({page.pictures})")
        allowed = (*page.classes, SIDES[-1]) if row["question"] == "which" else SIDES
        shown = [] if row["check"] else [row["left"]] if row["question"] == "which" else [row["left"], row["right"]]
        for name, value, choice in (
            ("question", row["question"], ("two", "all", "which")),
            ("answer", row["answer"], allowed),
            ("class", row["class"], page.classes),
            ("check", row["check"], ("", "right", "wrong")),
            *(("view", view, tuple(page.views)) for view in shown),
        ):
            if value not in choice:
                raise BadInput(f"{place}: {name} is {value!r}: choose from {', '.join(map(repr, choice))}")
    numbers = {
        name: pd.to_numeric(table[name].mask(table[name] == ""), errors="coerce") for name in ("epsilon", "seconds")
    }
    return table.assign(**numbers)
