"""Published certified accuracies, drawn and differenced beside ours.

They are in pagoda/data/published.csv: of which data set, network and training (the name of our objective, where we have
it), over how many images, by how many draws (n), at which alpha, and whence. Those of Sun et al. 2025 (arXiv
2410.06895) were counted from the logs that they published, an image a line, whose radii have three digits.
"""

from math import nan
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

import pagoda
from pagoda.errors import BadInput
from pagoda.figures.looks import model_name, view_colour
from pagoda.maths.confidence import difference_interval

PUBLISHED = Path(pagoda.__file__).parent / "data" / "published.csv"
COLUMNS = ("published", "difference", "difference_low", "difference_high", "source")


def read_published(dataset: str) -> pd.DataFrame:
    """Return the published accuracies on a dataset, none for "". Raises BadInput where there are none of it."""
    known = pd.read_csv(PUBLISHED)
    if dataset and dataset not in set(known.dataset):
        raise BadInput(f"no published figures of {dataset!r}: choose from {', '.join(sorted(set(known.dataset)))}")
    return known[known.dataset == dataset]


def compare(frame: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with COLUMNS: what was published of a model's objective at its sigma, and the difference.

    Of several, that over the most images. The difference's 95 % interval is that of two independent samples of images
    (`difference_interval`): where they share images, it is too wide. Other rows, and radii that were not published,
    have none.
    """
    known = {(row.method, row.sigma, row.radius): row for row in published.sort_values("images").itertuples()}
    rows = []
    for row in frame.itertuples():
        objective = row.model.split("-")[0]
        own = f"{row.model}-".startswith(f"{objective}-{row.sigma:g}-")
        theirs = known.get((objective, row.sigma, row.radius)) if own else None
        if theirs is None:
            rows.append([nan] * 4 + [""])
            continue
        counts = [(round(share * n), n) for share, n in ((row.accuracy, row.n), (theirs.accuracy, theirs.images))]
        source = f"{theirs.source}: {theirs.model}, {theirs.images} images, n = {theirs.n}, alpha = {theirs.alpha:g}"
        rows.append([theirs.accuracy, row.accuracy - theirs.accuracy, *difference_interval(*counts), source])
    return frame.join(pd.DataFrame(rows, columns=COLUMNS, index=frame.index))


def draw_published(axes: Axes, published: pd.DataFrame, sigma: float) -> None:
    """Draw what was published at `sigma`, a dashed curve a method in the colour of its objective."""
    ours = published[published.sigma == sigma]
    for (method, source), curve in ours.groupby(["method", "source"], sort=False):
        curve = curve[curve.accuracy > 0]
        style = {"color": view_colour(f"{method}-{sigma:g}", sigma), "linestyle": "--", "linewidth": 0.8}
        dots = {"marker": "x" if source.startswith("Cohen") else ".", "markersize": 3}
        label = f"{model_name(method)}, {source.split(' (')[0]}"
        axes.plot(curve.radius, curve.accuracy, label=label, drawstyle="steps-pre", **style, **dots)
