"""What takes the steps of a training, each with its schedule of learning rates.

sgd   SGD with Nesterov momentum, on a one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120)
muon  Muon on the filters, Adam on the rest (Jordan 2024, "Muon: An optimizer for hidden layers in neural networks");
      both rates fall linearly to 0

To add one, describe its values in pagoda/options/models.py and what it makes in OPTIMISERS, at the end.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from pagoda.errors import BadInput

RATES = ("learning_rate", "others")
"""Values of optimisers that can be too high."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Jordan 2024: the quintic whose slope at 0 is largest while singular values end near 1."""


def orthogonalised(matrix: Tensor, iterations: int = 3) -> Tensor:
    """Return about U V^T of a matrix [R, C] = U S V^T: its singular values are brought near 1, roughly.

    By Newton-Schulz iterations, in the matrix's own precision. A matrix of zeros stays one.
    """
    a, b, c = COEFFICIENTS
    wide = matrix.T if len(matrix) > matrix.shape[1] else matrix
    x = wide / wide.norm().clamp(min=1e-12)
    for _ in range(iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if wide is not matrix else x


class Muon(Optimizer):
    """Steps of filters along their orthogonalised momentum; a filter's norm is kept at the root of its outputs.

    PyTorch's own takes matrices alone, no filters, and computes in bfloat16, which CPUs without it do 30 times slower.
    """

    def __init__(self, filters: list[nn.Parameter], lr: float, momentum: float):
        """Take weights [outputs, ...], each seen as a matrix of so many rows."""
        super().__init__(filters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """Take one step."""
        for group in self.param_groups:
            for weight in (one for one in group["params"] if one.grad is not None):
                momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
                momentum.mul_(group["momentum"]).add_(weight.grad)
                ahead = weight.grad + group["momentum"] * momentum  # Nesterov's
                weight.mul_(len(weight) ** 0.5 / weight.norm())
                weight.sub_(group["lr"] * orthogonalised(ahead.flatten(1)).view(weight.shape))


Part = tuple[Optimizer, LRScheduler]


def _sgd(network: nn.Module, steps: int, learning_rate: float, momentum: float, weight_decay: float) -> list[Part]:
    how = {"momentum": momentum, "nesterov": momentum > 0, "weight_decay": weight_decay}
    optimiser = SGD(network.parameters(), learning_rate, **how)
    return [(optimiser, OneCycleLR(optimiser, learning_rate, total_steps=steps, cycle_momentum=False))]


def _muon(network: nn.Module, steps: int, learning_rate: float, momentum: float, others: float) -> list[Part]:
    weights = [one for one in network.parameters() if one.requires_grad]
    filters = [one for one in weights if one.ndim > 1][:-1]  # the last is the head
    if not filters:
        raise BadInput("optimiser muon steps along matrices, and this network has none before its head: use sgd")
    taken = {id(one) for one in filters}
    rest = [one for one in weights if id(one) not in taken]
    parts = (Muon(filters, learning_rate, momentum), Adam(rest, others, betas=(0.85, 0.95)))
    return [(one, LambdaLR(one, lambda done: 1 - done / steps)) for one in parts]


OPTIMISERS: dict[str, Callable[..., list[Part]]] = {"sgd": _sgd, "muon": _muon}
"""Makers by name, each called as maker(network, steps, **values)."""


def make(optimiser: dict, network: nn.Module, steps: int) -> list[Part]:
    """Return the optimisers of a network's parameters, each with its schedule over so many steps.

    Args:
        optimiser: {"name": "sgd", values}, as in pagoda/options/models.py.
        network: in training.
        steps: of the whole training, >= 1.

    Raises:
        BadInput: for an unknown name, or muon where the network has no matrices.

    """
    values = dict(optimiser)
    if (name := values.pop("name")) not in OPTIMISERS:
        raise BadInput(f"optimiser {name!r} is unknown: choose from {', '.join(OPTIMISERS)}")
    return OPTIMISERS[name](network, steps, **values)
