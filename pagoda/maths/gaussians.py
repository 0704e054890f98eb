"""A Gaussian fitted to a class's pictures: mean, principal components, and an isotropic rest.

The covariance is shrunk towards a multiple of the identity: few pictures tell little of many pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda.errors import BadInput


@dataclass(frozen=True)
class Gaussian:
    """N(mean, B' diag(variance - rest) B + rest I): of a class of n pictures with D values each.

    `mean` is [D]; `basis`, B, [R, D], has orthonormal rows, the principal components of largest variance first;
    `variance` is [R], `rest` that of every other direction. `shrinkage`, in [0, 1], is how much of the covariance was
    replaced by a multiple of the identity. `tangent` is how many components hold TANGENT of the pictures' variance.
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: float
    shrinkage: float
    tangent: int
    n: int


TANGENT = 0.9
"""Share of a class's variance that its tangent space holds."""


def fit_gaussian(pictures: Tensor, rank: int) -> Gaussian:
    """Fit a class. No D x D matrix is formed where there are fewer pictures than values.

    Shrinkage is that of Ledoit & Wolf 2004, "A well-conditioned estimator for large-dimensional covariance matrices";
    the rest, the mean of the variances that the components leave, is the likeliest of Tipping & Bishop 1999,
    "Probabilistic Principal Component Analysis". With R = D components the covariance is the whole one.

    Args:
        pictures: of the class, [n, ...], n >= 2, D values each.
        rank: the most components, >= 1; there are at most n - 1 and D.

    Raises:
        BadInput: for fewer than two pictures.

    """
    n, values = len(pictures), pictures[0].numel() if len(pictures) else 0
    if n < 2:
        raise BadInput(f"a class has {n} of the pictures that its Gaussian is fitted on: it takes 2 at least")
    rows = pictures.flatten(1).double()
    mean = rows.mean(dim=0)
    rows -= mean
    wide = n < values
    gram = (rows @ rows.T if wide else rows.T @ rows) / n
    total, squares = gram.trace(), gram.square().sum()
    variances, vectors = (found.flip(-1).double() for found in torch.linalg.eigh(gram.float()))
    variances = variances.clamp(min=0)
    level, spread = total / values, squares / values - (total / values) ** 2
    error = (rows.square().sum(dim=1).square().sum() / n - squares) / (n * values)
    shrinkage = 1.0 if spread <= 0 else min(1.0, float(error / spread))
    kept = min(rank, int((variances > 1e-6 * variances[0]).sum())) if total > 0 else 0
    basis = vectors[:, :kept].T
    if wide:
        basis = torch.nn.functional.normalize(basis @ rows)
    left = (total - variances[:kept].sum()).clamp(min=0) / max(1, values - kept)
    variance, rest = ((1 - shrinkage) * part + shrinkage * level for part in (variances[:kept], left))
    tangent = int((variances.cumsum(0) < TANGENT * total).sum()) + 1
    return Gaussian(mean.float(), basis.float(), variance.float(), float(rest), shrinkage, min(tangent, kept), n)
