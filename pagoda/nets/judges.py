"""Judges: classifiers that share nothing with the models that they judge, neither weights, features nor pictures.

knn  k nearest neighbours among principal components
qda  quadratic discriminant: a Gaussian a class, on the same components
net  a perceptron with one hidden layer on blurred pictures

An ordinary network alone would be no judge: features that people do not see transfer between networks (Ilyas et al.
2019, arXiv 1905.02175). All of it is scikit-learn. What people call them stands in pagoda/data/registry.py.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.exceptions import ConvergenceWarning
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
"""Pictures of more pixels a side are shrunk to it before they are judged; the net sees half of it (8 at least)."""
COMPONENTS = 64  # principal components, at most
EPOCHS = 20  # passes of the net over its pictures


@dataclass(frozen=True)
class Judges:
    """Fitted judges by name."""

    fitted: dict[str, Pipeline]

    def see(self, name: str, pictures: Tensor) -> np.ndarray:
        """Return the class numbers, int [B], that the judge `name` sees in `pictures`, [B, C, H, W] in [0, 1]."""
        return self.fitted[name].predict(_seen(name, pictures))


def fit_judges(pictures: Tensor, labels: Tensor, seed: int) -> Judges:
    """Fit every judge.

    Args:
        pictures: [n, C, H, W] in [0, 1].
        labels: class numbers, int64 [n].
        seed: of the net's weights and order, and of the components' solver.

    """
    y = labels.numpy()
    batch = min(len(y), max(16, min(200, len(y) // 20)))
    components = max(1, min(COMPONENTS, len(y) // (2 * len(np.unique(y))), pictures[0].numel()))
    reduced = PCA(components, svd_solver="randomized", random_state=seed)
    kinds = {
        "knn": make_pipeline(reduced, KNeighborsClassifier(min(5, len(y)))),
        "qda": make_pipeline(clone(reduced), QuadraticDiscriminantAnalysis(reg_param=0.1)),
        "net": make_pipeline(
            StandardScaler(with_std=False),
            MLPClassifier((128,), alpha=0.1, batch_size=batch, max_iter=EPOCHS, random_state=seed),
        ),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of the net's epochs is set
        return Judges({name: kind.fit(_seen(name, pictures), y) for name, kind in kinds.items()})


def _seen(name: str, pictures: Tensor) -> np.ndarray:
    """Return what a judge sees of pictures: [B, features]."""
    side = min(SIDE, max(pictures.shape[2:]))
    if name == "net":
        side = max(8, side // 2)
    return shrunk(pictures, side).flatten(1).numpy()


def shrunk(pictures: Tensor, side: int = SIDE) -> Tensor:
    """Return pictures, [B, C, H, W], at `side` pixels a side (means over areas), unless they are as small already."""
    if max(pictures.shape[2:]) <= side:
        return pictures
    return F.interpolate(pictures, size=(side, side), mode="area")
