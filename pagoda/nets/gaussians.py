"""The Bayes classifier of pictures under noise, were each class a Gaussian: alignment as it would be at its best.

With N(mu_c, Sigma_c) a class and noise N(0, sigma^2 I), the noised pictures of a class have the density
q_c = N(mu_c, Sigma_c + sigma^2 I), and

    log p_t(z) = log pi_t q_t(z) - log sum_c pi_c q_c(z),    grad log p_t = s_t - sum_c p_c s_c,
    s_c(z) = grad log q_c(z) = -(Sigma_c + sigma^2 I)^-1 (z - mu_c)

It is what a network trained under noise would be if it were perfect and the density true: a base classifier to certify
and to ascend, and the reference that gradients of others are held against. That training under noise leads there: after
Srinivas, Bordt & Lakkaraju 2023, "Which Models have Perceptually-Aligned Gradients?" (arXiv 2305.19101).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pagoda.maths.ball import cosine
from pagoda.maths.gaussians import Gaussian
from pagoda.maths.noise import Noise


class ClassGaussians(nn.Module):
    """The Bayes classifier for noise of standard deviation `sigma`.

    Pictures [B, C, H, W] in [0, 1], noise added -> logits [B, classes]: log pi_c q_c, but for a constant.
    """

    def __init__(self, classes: int, channels: int, *, size: int, rank: int, sigma: float):
        """Have room for so many classes, for pictures of `size` pixels a channel, and `rank` components each."""
        super().__init__()
        values = channels * size
        self.sigma = sigma
        self.mean, self.basis = (
            nn.Parameter(torch.zeros(classes, values)),
            nn.Parameter(torch.zeros(classes, rank, values)),
        )
        # Of a component that a class lacks: its row is 0, its variance the rest's.
        self.variance, self.rest = nn.Parameter(torch.zeros(classes, rank)), nn.Parameter(torch.zeros(classes))
        self.log_prior = nn.Parameter(torch.zeros(classes))
        self.tangent = nn.Parameter(torch.zeros(classes), requires_grad=False)

    @classmethod
    def of(cls, fitted: Sequence[Gaussian], channels: int, sigma: float) -> "ClassGaussians":
        """Return that of fitted classes, their shares of the pictures as priors."""
        rank, values = max(1, *(len(one.variance) for one in fitted)), len(fitted[0].mean)
        made = cls(len(fitted), channels, size=values // channels, rank=rank, sigma=sigma)
        for number, one in enumerate(fitted):
            kept = len(one.variance)
            made.mean.data[number] = one.mean
            made.basis.data[number, :kept] = one.basis
            made.rest.data[number], made.variance.data[number] = one.rest, one.rest
            made.variance.data[number, :kept] = one.variance
            made.tangent.data[number] = one.tangent
        counts = torch.tensor([one.n for one in fitted])
        made.log_prior.data = (counts / counts.sum()).log()
        return made.requires_grad_(False)

    def forward(self, z: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        values, noise = self.mean.shape[1], self.sigma**2
        rest, variance = self.rest + noise, self.variance + noise
        volume = variance.log().sum(dim=1) + (values - variance.shape[1]) * rest.log()
        # A class at a time: of large pictures, their distances from all means would be as many again a class.
        distances = []
        for number, mean in enumerate(self.mean):
            apart = z.flatten(1) - mean
            along = apart @ self.basis[number].T
            gain = 1 / rest[number] - 1 / variance[number]
            distances.append(apart.square().sum(dim=1) / rest[number] - along.square() @ gain)
        return self.log_prior - (volume + torch.stack(distances, dim=1)) / 2

    def solve(self, v: Tensor) -> Tensor:
        """Return (Sigma_c + sigma^2 I)^-1 v_c for a vector a class: [classes, D] -> [classes, D]."""
        rest, variance = (part.unsqueeze(1) + self.sigma**2 for part in (self.rest, self.variance))
        along = torch.einsum("krd,kd->kr", self.basis, v)
        return v / rest - torch.einsum("kr,krd->kd", along * (1 / rest - 1 / variance.squeeze(1)), self.basis)

    def gradients(self, x: Tensor, noise: Noise, number: int) -> Tensor:
        """Return E[grad log p_c(x + noise)] for every class c, of one picture [C, H, W]: [classes, C, H, W].

        Scores are linear in z, so that draws are only needed for p_c: sum_c E[p_c s_c] takes E[p_c z].

        Args:
            x: the picture.
            noise: draws to average over; its sigma, unless 0, should be that of the classifier.
            number: of the picture among those that `noise` is keyed for.

        """
        mean_z, weighted, chances, done = 0.0, 0.0, 0.0, 0
        for copies in noise.copies(x.unsqueeze(0), number):
            z = copies[0].flatten(1)
            p = self(copies[0]).softmax(dim=1)
            mean_z, weighted, chances = mean_z + z.sum(dim=0), weighted + p.T @ z, chances + p.sum(dim=0)
            done += len(z)
        own = self.solve(self.mean - mean_z / done)
        shared = self.solve((chances.unsqueeze(1) * self.mean - weighted) / done).sum(dim=0)
        return (own - shared).view(-1, *x.shape)

    def tangent_bases(self, classes: Tensor) -> list[Tensor]:
        """Return the components that span the tangent space of each class, [R, D], for class numbers int64 [B]."""
        return [self.basis[number, : int(self.tangent[number])] for number in classes.tolist()]


def bayes_cosines(gaussians: ClassGaussians, gradient: Tensor, x: Tensor, noise: Noise) -> Tensor:
    """Return the cosine of each gradient with the Bayes gradient towards every class: [B, classes]; NaN for length 0.

    Args:
        gaussians: the reference.
        gradient: of a score at x, [B, C, H, W].
        x: pictures, [B, C, H, W].
        noise: draws that the Bayes gradient is averaged over.

    """
    rows = []
    for number, (g, picture) in enumerate(zip(gradient, x, strict=True)):
        towards = gaussians.gradients(picture, noise, number)
        rows.append(cosine(g.expand_as(towards), towards))
        if not g.any():
            rows[-1][:] = math.nan
    return torch.stack(rows) if rows else gradient.new_zeros(0, len(gaussians.mean))
