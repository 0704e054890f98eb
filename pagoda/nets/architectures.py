"""Architectures of base classifiers: from normalised pictures [B, C, H, W] to logits [B, classes].

An architecture is a dict: {"name": "airbench", "widths": [64, 128]}, one of ARCHITECTURES with its options, or
{"factory": "module:function", ...}, a network of anyone's with its options.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pagoda.errors import BadInput
from pagoda.nets.denoisers import Denoised, build_denoiser
from pagoda.nets.factories import make
from pagoda.nets.gaussians import ClassGaussians
from pagoda.nets.published import LeNet, preact_resnet18, wide_resnet


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3 x 3 convolution without bias (a batch-norm follows)."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut, projected by a 1 x 1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        """Take `inputs` channels to `outputs`, a `stride`-th of the side."""
        super().__init__()
        self.conv1 = convolution(inputs, outputs, stride)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = convolution(outputs, outputs)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(y)) + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """ResNet of depth 6n + 2 for 32 x 32 pictures. He et al. 2016 (arXiv 1512.03385), section 4.2.

    The names of its parameters are those of the checkpoints of Cohen et al. 2019.
    """

    def __init__(self, classes: int, channels: int, depth: int):
        """Take pictures of `channels` channels to `classes` logits through `depth` layers."""
        super().__init__()

        def stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            later = [BasicBlock(outputs, outputs, 1) for _ in range((depth - 2) // 6 - 1)]
            return nn.Sequential(BasicBlock(inputs, outputs, stride), *later)

        self.conv1, self.bn1 = convolution(channels, 16), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2)
        self.fc = nn.Linear(64, classes)
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, classes]."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(x.mean(dim=(2, 3)))


class Group(nn.Module):
    """A 4 x 4 convolution that halves the side and a 3 x 3 one, each with a batch norm and hardswish.

    Not GELU: on a CPU, PyTorch rounds it otherwise where a tensor ends, and company in a batch would change a logit.
    """

    def __init__(self, inputs: int, outputs: int):
        """Take `inputs` channels to `outputs`. As far as there are inputs, filters start as their means and copies."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs, momentum=0.4)
        self.conv2, self.norm2 = convolution(outputs, outputs), nn.BatchNorm2d(outputs, momentum=0.4)
        means = torch.eye(outputs, inputs)[:inputs, :, None, None].expand(-1, -1, 2, 2) / 4
        self.conv1.weight.data[:inputs] = F.pad(means, (1, 1, 1, 1))
        nn.init.dirac_(self.conv2.weight)
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad_(False)  # the next filters' norm is kept: a scale would do nothing

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H // 2, W // 2]."""
        return F.hardswish(self.norm2(self.conv2(F.hardswish(self.norm1(self.conv1(x))))))


class Airbench(nn.Module):
    """A net that learns photographs in few epochs: whitened 2 x 2 patches, groups of convolutions, a global mean.

    In the manner of Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv 2404.00498), but
    for its max pools: under noise a mean sees as much, and one that a convolution takes along halves its cost.
    """

    def __init__(self, classes: int, channels: int, widths: Sequence[int]):
        """Take pictures of `channels` channels to `classes` logits; a group of convolutions for each of `widths`."""
        super().__init__()
        self.stem = nn.Conv2d(channels, 8 * channels, 2)
        self.stem.weight.requires_grad_(False)
        self.groups = nn.Sequential(*map(Group, (8 * channels, *widths), widths))
        self.head = nn.Linear(widths[-1], classes, bias=False)

    @torch.no_grad()
    def whiten(self, x: Tensor, noise: Tensor) -> None:
        """Set the stem's filters to principal components of patches, scaled to variance 1, and their negatives.

        Args:
            x: pictures, normalised, [B, channels, H, W].
            noise: variance of the noise that is added to them in training, [channels].

        """
        patches = F.unfold(x, 2).transpose(1, 2).flatten(0, 1)  # [n, channels * 2 * 2]
        covariance = patches.T @ patches / len(patches) + noise.repeat_interleave(4).diag()
        variances, components = torch.linalg.eigh(covariance)
        filters = (components / (variances + 5e-4).sqrt()).T
        self.stem.weight.copy_(torch.cat([filters, -filters]).view_as(self.stem.weight))

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, classes]."""
        return self.head(self.groups(F.hardswish(self.stem(x))).mean(dim=(2, 3)))


def fold_batch_norms(network: nn.Module) -> None:
    """Fold each batch-norm of `network`, in eval mode, into the convolution that is registered just before it.

    For ARCHITECTURES alone: others may run their layers in another order than they register them.
    """
    for module in network.modules():
        before, earlier = "", None
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d) and isinstance(earlier, nn.Conv2d):
                setattr(module, before, fuse_conv_bn_eval(earlier, child))
                setattr(module, name, nn.Identity())
            before, earlier = name, child


def fold_ours(network: nn.Module, architecture: dict) -> None:
    """Fold the batch-norms of a network, in eval mode, as far as it is one of ours: a factory's is left as it is."""
    if architecture.get("name") == "denoised":
        fold_ours(network.denoiser, architecture["denoiser"])
        fold_ours(network.classifier.network, architecture["network"])
    elif "name" in architecture:
        fold_batch_norms(network)


def _initialise(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def _resnet50(classes: int, channels: int) -> nn.Module:
    if channels != 3:
        raise BadInput(f"architecture resnet50 takes pictures of 3 channels, not {channels}")
    from torchvision.models import resnet50  # imported late: torchvision takes as long to import as torch

    return resnet50(num_classes=classes)


def _small(name: str, classes: int, channels: int) -> nn.Module:
    """Return a ResNet of torchvision's as is usual for 32 x 32 pictures: its stem keeps the side."""
    from torchvision import models  # imported late, as above

    network = getattr(models, name)(num_classes=classes)
    network.conv1, network.maxpool = convolution(channels, 64), nn.Identity()
    return network


def _denoised(classes: int, channels: int, denoiser: dict, network: dict, **normalisation) -> nn.Module:
    return Denoised(build_denoiser(denoiser, channels), build(network, classes, channels), **normalisation)


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "airbench": Airbench,
    "gaussians": ClassGaussians,
    "resnet20": lambda classes, channels: CifarResNet(classes, channels, depth=20),
    "resnet110": lambda classes, channels: CifarResNet(classes, channels, depth=110),
    "resnet18": lambda classes, channels: _small("resnet18", classes, channels),
    "resnet50": _resnet50,
    "cifar-resnet50": lambda classes, channels: _small("resnet50", classes, channels),
    "preactresnet18": preact_resnet18,
    "wideresnet": wide_resnet,
    "lenet": LeNet,
    "denoised": _denoised,
}
"""Builders by name, each called as builder(classes, channels, **options)."""


def build(architecture: dict, classes: int, channels: int) -> nn.Module:
    """Return a new network with weights drawn from PyTorch's global generator.

    A factory, "module:function", is imported: from the current folder or from what is installed. It is called with its
    options and with `classes` and `channels` where it has parameters of these names; else, as timm's and torchvision's
    functions want it, with `num_classes`, and with `in_chans` where pictures have not 3 channels.

    Args:
        architecture: {"name": ..., options} or {"factory": "module:function", options}.
        classes: logits that the network gives, >= 2.
        channels: of the pictures that it takes, 1 or 3.

    Raises:
        BadInput: for an unknown architecture, options that it does not take, or a factory that is missing, fails or
            makes no network.

    """
    options = {key: value for key, value in architecture.items() if key not in ("name", "factory")}
    if "factory" not in architecture:
        name = architecture["name"]
        if name not in ARCHITECTURES:
            raise BadInput(f"architecture {name!r} is unknown: choose from {', '.join(ARCHITECTURES)}")
        try:
            return ARCHITECTURES[name](classes, channels, **options)
        except (TypeError, KeyError) as error:
            raise BadInput(f"architecture {name} does not take {options}: {error}") from None
    taken, usual = {"classes": classes, "channels": channels}, {"num_classes": classes}
    return make(architecture["factory"], options, taken, usual | ({"in_chans": channels} if channels != 3 else {}))


def build_seeded(seed: int, *args, **kwargs) -> nn.Module:
    """Return `build(...)` with weights drawn from `seed`; the global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*args, **kwargs)
