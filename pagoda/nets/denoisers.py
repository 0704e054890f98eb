"""Denoisers before a classifier, which make a certifiable one of a network that was never trained under noise.

Salman et al. 2020, "Denoised Smoothing" (arXiv 2003.01908); one step of a diffusion model: Carlini et al. 2023 (arXiv
2206.10550). The pair is one base classifier: smoothed, certified and ascended as a whole, gradients and all.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pagoda.errors import BadInput
from pagoda.nets.factories import make
from pagoda.nets.normalisation import Normalised


class DnCNN(nn.Module):
    """A stack of convolutions that predicts the noise. Zhang et al. 2017 (arXiv 1608.03981)."""

    def __init__(self, channels: int, depth: int = 17, width: int = 64):
        """Take pictures of `channels` channels through `depth` convolutions of `width` channels."""
        super().__init__()
        layers = [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width, eps=1e-4), nn.ReLU()]
        self.dncnn = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Noisy pictures -> pictures, [B, channels, H, W]."""
        return x - self.dncnn(x)


class OneShot(nn.Module):
    """One step of a diffusion model: its prediction of the clean picture at the time that has the noise's level."""

    def __init__(self, network: nn.Module, signal: Tensor, sigma: float):
        """Take the model's noise predictor, and what it was trained with.

        Args:
            network: called as network(x_t, t), pictures of [-1, 1] and times [B] in thousandths of the whole; its
                first C channels are the noise.
            signal: alpha-bar of each time, falling, [steps].
            sigma: standard deviation of the smoothing noise, in pixel values of [0, 1].

        Raises:
            BadInput: where the model knows no noise so large.

        """
        super().__init__()
        enough = ((1 - signal) / signal).sqrt() >= 2 * sigma  # in [-1, 1], noise is twice as large
        if not enough.any():
            raise BadInput(f"one_shot: sigma is {sigma:g}: the diffusion model's noise ends below")
        self.network, self.time = network, int(enough.nonzero()[0])
        self.signal, self.share = float(signal[self.time]), 1000 / len(signal)

    def forward(self, x: Tensor) -> Tensor:
        """Noisy pictures -> pictures in [0, 1], [B, C, H, W]."""
        noisy = math.sqrt(self.signal) * (2 * x - 1)
        time = torch.full((len(x),), self.time * self.share, dtype=x.dtype, device=x.device)
        noise = self.network(noisy, time)[:, : x.shape[1]]
        clean = (noisy - math.sqrt(1 - self.signal) * noise) / math.sqrt(self.signal)
        return (clean.clamp(-1, 1) + 1) / 2


def _cosine(steps: int) -> Tensor:
    # Nichol & Dhariwal 2021 (arXiv 2102.09672), equation 17
    def level(at: Tensor) -> Tensor:
        return torch.cos((at / steps + 0.008) / 1.008 * math.pi / 2) ** 2

    times = torch.arange(steps, dtype=torch.float64)
    return (level(times + 1) / level(times)).clamp(min=0.001).cumprod(0)


def _linear(steps: int) -> Tensor:
    # Ho et al. 2020 (arXiv 2006.11239), section 4, for any number of steps
    return (1 - torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64)).cumprod(0)


SCHEDULES: dict[str, Callable[[int], Tensor]] = {"cosine": _cosine, "linear": _linear}


def one_shot(network: dict, sigma: float, channels: int, schedule: str = "linear", steps: int = 1000) -> nn.Module:
    """Return a diffusion model as a denoiser: the factory ``pagoda.nets.denoisers:one_shot``.

    Args:
        network: its noise predictor, {"factory": "module:function", options}, as OneShot takes it.
        sigma: standard deviation of the smoothing noise that it is made for.
        channels: of the pictures.
        schedule: of its noise, "linear" (guided diffusion, ImageNet) or "cosine" (improved diffusion, CIFAR-10).
        steps: of its training: 1000 there, 4000 here.

    """
    return OneShot(build_denoiser(network, channels), SCHEDULES[schedule](steps), sigma)


def build_denoiser(architecture: dict, channels: int) -> nn.Module:
    """Return a denoiser with random weights: noisy pictures [B, channels, H, W] -> pictures of that shape.

    Args:
        architecture: {"name": "dncnn", options}, or {"factory": "module:function", options}, which is called with
            its options, and with `channels` where it has a parameter of that name.
        channels: of the pictures.

    Raises:
        BadInput: for an unknown name, options that it does not take, or a factory that fails.

    """
    options = {key: value for key, value in architecture.items() if key not in ("name", "factory")}
    if "factory" in architecture:
        return make(architecture["factory"], options, {"channels": channels}, {})
    if (name := architecture["name"]) != "dncnn":
        raise BadInput(f"denoiser {name!r} is unknown: choose from dncnn, or name a factory")
    try:
        return DnCNN(channels, **options)
    except TypeError as error:
        raise BadInput(f"denoiser {name} does not take {options}: {error}") from None


class Denoised(nn.Module):
    """A denoiser, then a classifier with a normalisation of its own: noisy pictures [B, C, H, W] -> logits."""

    def __init__(
        self,
        denoiser: nn.Module,
        network: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        prepare: Sequence[str] = (),
    ):
        """Put `denoiser` before a network that sees what it makes, normalised as `Normalised` does."""
        super().__init__()
        self.denoiser, self.classifier = denoiser, Normalised(network, mean, std, prepare)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, classes]."""
        return self.classifier(self.denoiser(x))
