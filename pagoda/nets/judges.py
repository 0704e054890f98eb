"""Judges: classifiers that share nothing with the models that they judge, neither weights nor pictures.

net      a network trained under noise on the pictures set aside for judges, by the train step
patches  ridge regression on the responses of blurred pictures to random patches of others, whitened (Coates & Ng 2011,
         "The Importance of Encoding Versus Training with Sparse Coding and Vector Quantization")
qda      quadratic discriminant: a Gaussian a class, on principal components

An ordinary network would be no judge: features that people do not see transfer between networks (Ilyas et al. 2019,
arXiv 1905.02175), but noise drowns most of what grain carries. The others are scikit-learn's. What people call them
stands in pagoda/data/registry.py.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.nn import functional as F

from pagoda.memory import MicroBatch, in_parts

SIDE = 32
"""Pictures of more pixels a side are shrunk to it before all but the net judge them."""
COMPONENTS = 64  # principal components, at most
PATCH, PATCHES = 4, 256  # side of a patch, pixels of the blurred picture; how many


@dataclass(frozen=True)
class Judges:
    """Judges by name: a network, and what is fitted."""

    net: nn.Module
    fitted: dict[str, Pipeline]

    def see(self, name: str, pictures: Tensor) -> np.ndarray:
        """Return the class numbers, int [B], that the judge `name` sees in `pictures`, [B, C, H, W] in [0, 1]."""
        if name != "net":
            return self.fitted[name].predict(shrunk(pictures).flatten(1).numpy())
        with torch.inference_mode():
            logits = in_parts(self.net, MicroBatch("judge", 256))(pictures.to(self.net.mean.device))
        return logits.argmax(dim=1).cpu().numpy()


def fit_judges(pictures: Tensor, labels: Tensor, seed: int) -> dict[str, Pipeline]:
    """Fit every judge but the net.

    Args:
        pictures: [n, C, H, W] in [0, 1], not larger than `shrunk` makes them.
        labels: class numbers, int64 [n].
        seed: of patches and components.

    """
    y = labels.numpy()
    components = max(1, min(COMPONENTS, len(y) // (2 * len(np.unique(y))), pictures[0].numel()))
    reduced = PCA(components, svd_solver="randomized", random_state=seed)
    kinds = {
        "patches": make_pipeline(
            Patches(tuple(pictures.shape[1:]), seed), StandardScaler(), RidgeClassifierCV(np.logspace(-1, 4, 11))
        ),
        "qda": make_pipeline(reduced, QuadraticDiscriminantAnalysis(reg_param=0.1)),
    }
    return {name: kind.fit(pictures.flatten(1).numpy(), y) for name, kind in kinds.items()}


class Patches(TransformerMixin, BaseEstimator):
    """Mean responses, in each quarter of a picture at half its side, to random patches and their negatives.

    Patches and responses are whitened; a response counts where it is above the standard deviation of all.
    """

    def __init__(self, shape: tuple[int, int, int], seed: int):
        """Take pictures of shape [C, H, W] as rows."""
        self.shape, self.seed = shape, seed

    def _blurred(self, rows: np.ndarray) -> Tensor:
        side = max(8, max(self.shape[1:]) // 2)
        return F.adaptive_avg_pool2d(torch.from_numpy(rows).unflatten(1, self.shape), side)

    def fit(self, rows: np.ndarray, y: object = None) -> "Patches":
        """Draw the patches from pictures, [n, C * H * W]."""
        source = torch.Generator().manual_seed(self.seed)
        blurred = self._blurred(rows)
        some = blurred[torch.randperm(len(blurred), generator=source)[:1000]]
        patches = F.unfold(some, PATCH).transpose(1, 2).flatten(0, 1)
        mean = patches.mean(dim=0)
        variances, components = torch.linalg.eigh((patches - mean).T.cov())
        whitening = components / (variances + 0.01).sqrt() @ components.T
        white = (patches - mean) @ whitening
        chosen = F.normalize(white[torch.randint(len(white), (PATCHES,), generator=source)])
        filters = chosen @ whitening
        both, shift = torch.cat([filters, -filters]), filters @ mean
        self.filters_ = both.view(-1, self.shape[0], PATCH, PATCH)
        self.bias_ = torch.cat([-shift, shift]) - (white @ chosen.T).std()
        return self

    def transform(self, rows: np.ndarray) -> np.ndarray:
        """Return the responses, [n, 8 * PATCHES]."""
        responses = [
            F.adaptive_avg_pool2d(F.relu(F.conv2d(part, self.filters_, self.bias_)), 2).flatten(1)
            for part in self._blurred(rows).split(250)
        ]
        return torch.cat(responses).numpy()


def shrunk(pictures: Tensor) -> Tensor:
    """Return pictures, [B, C, H, W], at SIDE pixels a side (means over areas), unless they are as small already."""
    if max(pictures.shape[2:]) <= SIDE:
        return pictures
    return F.interpolate(pictures, size=(SIDE, SIDE), mode="area")
