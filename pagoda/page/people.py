"""What readers saw in the blind test, in Markdown: preferences, an order of views, classes beside the judges."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from pagoda.figures.markup import markdown
from pagoda.maths.raters import clustered_interval, sign_flip, strengths
from pagoda.page.answers import SIDES, Page

ABOUT = (
    "Readers and sources are both samples: each share's 95 % interval (Clopper–Pearson) is of as many answers as those "
    "of so many readers, or on so many sources, are worth, whichever are fewer; p is that of an exact sign-flip test "
    "over them, whichever is larger."
)


def people(answers: pd.DataFrame, page: Page) -> str:
    """Return the page in Markdown; `answers` as `read_answers` returns them."""
    checks = answers[answers.check != ""]
    wrong = checks[checks.check == "wrong"].groupby("rater").size()
    careless = sorted(rater for rater, count in wrong.items() if 2 * count > (checks.rater == rater).sum())
    rated = answers[(answers.check == "") & ~answers.rater.isin(careless)]
    seconds = rated.seconds.median()
    parts = [
        f"# What people see: {page.experiment}",
        f"{rated.rater.nunique()} readers, {len(rated)} answers"
        + (f", {seconds:.1f} s each (median)" if np.isfinite(seconds) else "")
        + f". Real pictures, as a check: {(checks.check == 'right').sum()} of {len(checks)} right."
        + (f" Left out, as more than half of theirs were wrong: {', '.join(careless)}." if careless else ""),
        ABOUT,
    ]
    for epsilon, some in rated.groupby("epsilon"):
        pairs, named = some[some.question != "which"], some[some.question == "which"]
        if len(pairs):
            parts += [f"## Which looks more like the class? ε = {epsilon:g}", _preferences(pairs, page)]
            if len({*pairs.left, *pairs.right}) > 2:
                parts += [f"### An order of all views, ε = {epsilon:g}", *_order(pairs, page)]
        if len(named):
            parts += [f"## Which class is this? ε = {epsilon:g}", *_classes(named, page)]
    return "\n\n".join(parts) + "\n"


def _preferences(pairs: pd.DataFrame, page: Page) -> str:
    rows = []
    pairs = pairs.assign(pair=[tuple(sorted(pair)) for pair in zip(pairs.left, pairs.right, strict=True)])
    for (a, b), some in pairs.groupby("pair"):
        decided = some[some.answer != SIDES[-1]]
        preferred = np.where(decided.answer == "left", decided.left, decided.right)
        a, b = (a, b) if (preferred == a).sum() >= (preferred == b).sum() else (b, a)
        hit, n = preferred == a, len(decided)
        p = _largest(decided, lambda group, hit=hit: sign_flip([int(2 * hit[k].sum() - k.sum()) for k in group]))
        share = f"{hit.mean():.2f} {_interval(decided, hit)}" if n else "–"
        rows.append([page.views[a], page.views[b], f"{hit.sum()} to {n - hit.sum()}", share, _p(p), str(len(some) - n)])
    return markdown(["preferred", "to", "answers", "share", "p", "can't tell"], rows)


def _order(pairs: pd.DataFrame, page: Page) -> list[str]:
    views = sorted({*pairs.left, *pairs.right})
    places = np.array(
        [[views.index(left), views.index(right)] for left, right in zip(pairs.left, pairs.right, strict=True)]
    )
    result = pairs.answer.map({"left": 1.0, "right": 0.0, SIDES[-1]: 0.5}).to_numpy()
    found = strengths(places, result, pairs.rater.to_numpy(), pairs.source.to_numpy(), len(views))
    counts = [int((places == number).any(axis=1).sum()) for number in range(len(views))]
    rows = [
        [page.views[views[k]], f"{found[0][k]:+.2f} [{found[1][k]:+.2f}, {found[2][k]:+.2f}]", str(counts[k])]
        for k in np.argsort(-found[0])
    ]
    one = "" if pairs.rater.nunique() > 1 else " Of one reader: the intervals hold for no other."
    text = "Strengths by Bradley & Terry (1952), their mean 0: a view is preferred to one that is weaker by 1 with a "
    text += (
        "chance of .73, by 2 with .88. An answer “can't tell” is half a preference each. In brackets 95 % intervals, "
    )
    text += f"by a bootstrap of readers and sources.{one}"
    return [text, markdown(["view", "strength", "answers"], rows)]


def _classes(named: pd.DataFrame, page: Page) -> list[str]:
    rows = []
    for view in [key for key in page.views if key in set(named.left)]:
        own = named[named.left == view]
        hit = (own.answer == own["class"]).to_numpy()
        keys = zip(own.left, own.epsilon, own["class"], own.source, strict=True)
        seen = [(page.judged.get(key, {}), key[2]) for key in keys]
        judged = []
        for judge in page.judges:
            right = [found[judge] == target for found, target in seen if judge in found]
            judged.append(f"{np.mean(right):.2f}" if right else "–")
        rows.append([page.views[view], str(len(own)), f"{hit.mean():.2f} {_interval(own, hit)}", *judged])
    head = ["view", "answers", "people", *(f"judge: {label}" for label in page.judges.values())]
    text = "How often the target class is seen in the end of an ascent, by people and by the judges, on the same "
    return [f"{text}pictures. Chance is {1 / len(page.classes):.2f}.", markdown(head, rows)]


def _groups(rows: pd.DataFrame) -> list[list[np.ndarray]]:
    """Return the answers of each reader, where there are several, and those on each source."""
    ways = ["rater", "source"] if rows.rater.nunique() > 1 else ["source"]
    return [[(rows[way] == value).to_numpy() for value in rows[way].unique()] for way in ways]


def _interval(rows: pd.DataFrame, hit: np.ndarray) -> str:
    found = [clustered_interval([hit[k].sum() for k in group], [k.sum() for k in group]) for group in _groups(rows)]
    low, high = max(found, key=lambda bounds: bounds[1] - bounds[0])
    return f"[{low:.2f}, {high:.2f}]"


def _largest(rows: pd.DataFrame, test: Callable[[list[np.ndarray]], float]) -> float:
    return max((test(group) for group in _groups(rows)), default=1.0) if len(rows) else 1.0


def _p(p: float) -> str:
    return "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
