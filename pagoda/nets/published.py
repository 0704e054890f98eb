"""Networks that others publish weights of, beside the residual nets of `pagoda.nets.architectures`.

Pre-activation residual nets: He et al. 2016 (arXiv 1603.05027), wide ones of Zagoruyko & Komodakis 2016 (arXiv
1605.07146). Published code differs in details that few names of weights show: FORMS has them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Form:
    """Details of a pre-activation net.

    `from_activated`: a projecting shortcut starts behind the block's first activation, else from its input. `kernel`:
    side of that projection. `corner`: convolutions that halve the side pad the right and the bottom alone, as
    TensorFlow does. `last_norm`: a batch norm and an activation come before the mean over places.
    """

    activation: Callable[[Tensor], Tensor] = torch.relu
    from_activated: bool = True
    kernel: int = 1
    corner: bool = False
    last_norm: bool = True


FORMS = {
    ("wideresnet", None): Form(),
    ("wideresnet", "deepmind"): Form(F.silu, corner=True),
    ("preactresnet18", None): Form(last_norm=False),
    ("preactresnet18", "fast"): Form(from_activated=False, last_norm=False),
    ("preactresnet18", "rice"): Form(),
    ("preactresnet18", "deepmind"): Form(F.silu, from_activated=False, kernel=3, corner=True),
}
"""By architecture and variant.

None: TRADES and most of RobustBench (wideresnet), kuangliu's (preactresnet18); fast: Wong et al. 2020, Andriushchenko &
Flammarion 2020; rice: Rice et al. 2020, Kireev et al. 2021; deepmind: Gowal et al. 2020, Rebuffi et al. 2021, Rade &
Moosavi-Dezfooli 2021, Wang et al. 2023.
"""


class PreActivationBlock(nn.Module):
    """Twice batch norm, activation and a 3 x 3 convolution, and a shortcut, projected where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int, form: Form):
        """Take `inputs` channels to `outputs`, a `stride`-th of the side."""
        super().__init__()
        self.form, self.corner = form, form.corner and stride == 2

        def halving(kernel: int) -> nn.Conv2d:
            padding = 0 if self.corner else kernel // 2
            return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)

        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), halving(3)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(halving(form.kernel))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""

        def padded(y: Tensor) -> Tensor:
            return F.pad(y, (0, 1, 0, 1)) if self.corner else y

        active, shortcut = self.form.activation(self.bn1(x)), x
        if self.downsample is not None:
            start = active if self.form.from_activated else x
            shortcut = self.downsample(padded(start) if self.form.kernel > 1 else start)
        y = self.form.activation(self.bn2(self.conv1(padded(active))))
        return self.conv2(y) + shortcut


class PreActivationNet(nn.Module):
    """Stages of pre-activation blocks; each but the first halves the side."""

    def __init__(self, classes: int, channels: int, stem: int, widths: Sequence[int], blocks: int, form: Form):
        """Take pictures of `channels` channels to `classes` logits; `blocks` of each of `widths` after the stem's."""
        super().__init__()
        self.form, self.stages = form, [f"layer{number}" for number in range(1, len(widths) + 1)]
        self.conv1 = nn.Conv2d(channels, stem, 3, padding=1, bias=False)
        for name, inputs, outputs in zip(self.stages, (stem, *widths), widths, strict=False):
            first = PreActivationBlock(inputs, outputs, 1 if name == "layer1" else 2, form)
            later = [PreActivationBlock(outputs, outputs, 1, form) for _ in range(blocks - 1)]
            setattr(self, name, nn.Sequential(first, *later))
        self.bn1 = nn.BatchNorm2d(widths[-1]) if form.last_norm else None
        self.fc = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, H, W] -> [B, classes]."""
        x = self.conv1(x)
        for name in self.stages:
            x = getattr(self, name)(x)
        if self.bn1 is not None:
            x = self.form.activation(self.bn1(x))
        return self.fc(x.mean(dim=(2, 3)))


def wide_resnet(classes: int, channels: int, depth: int, width: int, variant: str | None = None) -> nn.Module:
    """Return a wide residual net of `depth` = 6n + 4 layers, `width` times as wide as the first ones."""
    widths = [factor * width for factor in (16, 32, 64)]
    return PreActivationNet(classes, channels, 16, widths, (depth - 4) // 6, FORMS["wideresnet", variant])


def preact_resnet18(classes: int, channels: int, variant: str | None = None) -> nn.Module:
    """Return a pre-activation ResNet-18 for 32 x 32 pictures."""
    return PreActivationNet(classes, channels, 64, (64, 128, 256, 512), 2, FORMS["preactresnet18", variant])


class LeNet(nn.Module):
    """The net for 28 x 28 digits that the papers on smoothing take for MNIST; in the manner of LeCun et al. 1998."""

    def __init__(self, classes: int, channels: int):
        """Take pictures of `channels` channels, 28 x 28, to `classes` logits."""
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(channels, 20, 5), nn.Conv2d(20, 50, 5)
        self.fc1, self.fc2 = nn.Linear(800, 500), nn.Linear(500, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[B, channels, 28, 28] -> [B, classes]."""
        for convolution in (self.conv1, self.conv2):
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))
