"""What benchmarks share: a network with random weights, what contenders do a second, what a device could do."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from pagoda.device import pick_precision
from pagoda.nets.model import BaseClassifier, Identity

ROUNDS, SIGMA, MEAN, STD = 3, 0.5, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


def rates(contenders: dict[str, tuple[int, Callable[[], object]]]) -> dict[str, float]:
    """Return what each contender does a second at best: it is told how much a turn does, after one turn to warm up."""
    best = dict.fromkeys(contenders, 0.0)
    for number in range(ROUNDS + 1):
        for name, (amount, turn) in contenders.items():
            began = time.perf_counter()
            turn()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if number:
                best[name] = max(best[name], amount / (time.perf_counter() - began))
    return best


def identity(name: str, size: int, device: torch.device) -> Identity:
    """Return what a model says of itself that has random weights and ten classes."""
    return Identity(
        architecture={"name": name}, classes=tuple("0123456789"), channels=3, size=size, mean=MEAN, std=STD,
        objective={"name": "gaussian", "sigma": SIGMA}, seed=0, precision=pick_precision("auto", device), data="random",
        code="none",
    )  # fmt: skip


def flops(classifier: BaseClassifier, x: torch.Tensor, back: bool = True) -> int:
    """Return the floating-point operations of the gradient of one picture's score: two for a product and its sum.

    Without `back`, those of the score alone.
    """
    frozen = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    with FlopCounterMode(display=False) as counted:
        x = x.clone().requires_grad_(back)
        score = classifier(x).sum()
        if back:
            score.backward()
    for parameter in frozen:
        parameter.requires_grad_(True)
    return counted.get_total_flops()


def matmul_rate(device: torch.device, precision: str) -> float:
    """Return the floating-point operations a second of large square matrix products in a precision."""
    side = 8192 if device.type == "cuda" else 2048
    a = torch.randn(side, side, device=device, dtype=getattr(torch, precision))
    return rates({"": (2 * side**3, lambda: a @ a)})[""]
