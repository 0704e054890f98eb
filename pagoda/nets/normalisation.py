"""What a network's publisher does to pictures before the network sees them: it is part of the base classifier."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn


def _standardise(x: Tensor) -> Tensor:
    # Ding et al. 2020 (arXiv 1812.02637); the least deviation is 1 / sqrt(values of a picture).
    std, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return (x - mean) / std.clamp(min=x[0].numel() ** -0.5)


PREPARATIONS: dict[str, Callable[[Tensor], Tensor]] = {"clamp": lambda x: x.clamp(0, 1), "standardise": _standardise}
"""clamp: to [0, 1], which cuts noise off (MadryLab's robustness); standardise: each picture by its own moments."""


class Normalised(nn.Module):
    """Preparations, normalisation, then a network: pictures [B, C, H, W] in [0, 1] (plus noise) -> what it gives.

    Normalisation is in the pictures' precision, the network in that of its parameters, and so is what it gives.
    """

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float], prepare: Sequence[str] = ()):
        """Put `prepare`, names of PREPARATIONS, then (x - mean) / std, channel by channel, before `network`."""
        super().__init__()
        self.network, self.prepare = network, tuple(prepare)
        # Not in the state: the metadata hold them.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> what the network gives, [B, ...]."""
        for name in self.prepare:
            x = PREPARATIONS[name](x)
        x = (x - self.mean) / self.std
        dtype = next(self.network.parameters()).dtype
        # Under autocast, parameters are float32 whatever the arithmetic.
        return self.network(x.to(dtype) if dtype == torch.bfloat16 else x)


def before(classifier: nn.Module) -> Normalised:
    """Return the innermost normalisation of a classifier: behind a denoiser, where it has one."""
    return [part for part in classifier.modules() if isinstance(part, Normalised)][-1]
