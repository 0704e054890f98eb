"""How published code names the weights of networks: our names for them, and which architecture they look like.

All that is known of publishers stands in the tables here.
"""

import re
from collections.abc import Callable

from torch import Tensor

Weights = dict[str, Tensor]

CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "last", "")
"""Where a file has its weights, what comes first counts; "": nowhere, it is the weights."""
PREFIXES = ("module.", "_orig_mod.", "model.", "network.", "1.")
"""What wrappers put before every name: DataParallel, torch.compile, a class around it, Sequential(normalise, it)."""
NORMALISERS = re.compile(r"(?:^|\.)(?:(?P<mean>mu|means?|new_mean)|(?P<std>sigma|stds?|sds|new_std))$")
"""Names of the mean and the standard deviation of each channel, where a file has them."""
UNUSED = re.compile(r"(?:^|\.)(?:attacker|sub_block1)\.")
"""The same network again (MadryLab's robustness), and a stage that no picture goes through (TRADES)."""
CLAMPS = re.compile(r"(?:^|\.)normalizer\.new_mean$")
"""Of a normalisation that clamps pictures to [0, 1] first (MadryLab's robustness)."""
DEEPMIND = re.compile(r"^(?:init_conv|conv_2d)\.")
"""Of code whose convolutions pad and activate otherwise, though every shape is that of other code."""


def _stage(found: re.Match) -> str:
    return f"layer{int(found[1]) + 1}."


def _next(word: str) -> Callable[[re.Match], str]:
    return lambda found: f".{word}{int(found[1]) + 1}."


RENAMES: tuple[tuple[re.Pattern, str | Callable[[re.Match], str]], ...] = tuple(
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"^(linear|logits)\.", "fc."),  # kuangliu's, robustness; DeepMind's
        (r"^(bn|batchnorm)\.", "bn1."),  # the norm before the head: Rice's; DeepMind's
        (r"^(init_conv|conv_2d)\.", "conv1."),  # DeepMind's
        (r"^layer\.(\d)\.block\.", _stage),
        (r"^layer_(\d)\.", _stage),
        (r"\.batchnorm_([01])\.", _next("bn")),
        (r"\.conv_([01])\.", _next("conv")),
        (r"\.conv_2d_([12])\.", r".conv\1."),
        (r"^block(\d)\.layer\.", r"layer\1."),  # TRADES
        (r"\.(shortcut|convShortcut)\.weight$", ".downsample.0.weight"),  # DeepMind's; TRADES
        (r"\.shortcut\.", ".downsample."),  # kuangliu's, robustness
    )
)
"""Names in published code -> ours, in turn."""

RESIDUAL = {
    (3, 16, (3, 3, 3), 1): {"name": "resnet20"},
    (3, 16, (18, 18, 18), 1): {"name": "resnet110"},
    (3, 64, (2, 2, 2, 2), 1): {"name": "resnet18"},
    (3, 256, (3, 4, 6, 3), 1): {"name": "cifar-resnet50"},
    (7, 64, (2, 2, 2, 2), 1): {"factory": "torchvision.models:resnet18"},
    (7, 64, (3, 4, 6, 3), 1): {"factory": "torchvision.models:resnet34"},
    (7, 256, (3, 4, 6, 3), 1): {"name": "resnet50"},
    (7, 256, (3, 4, 23, 3), 1): {"factory": "torchvision.models:resnet101"},
    (7, 256, (3, 4, 6, 3), 2): {"factory": "torchvision.models:wide_resnet50_2"},
}
"""By side of the first filters, outputs of the first stage, blocks of each stage, width of the first block / 64."""
LOOKS = (
    (r"^dncnn\.0\.weight$", "a denoiser, dncnn"),
    (r"^fc2\.weight$", "lenet"),
    (r"^encoder\.layers\.encoder_layer_0\.", "a vision transformer of torchvision's"),
    (r"^blocks\.0\.attn\.", "a vision transformer of timm's"),
    (r"^stages\.0\.blocks\.0\.conv_dw\.", "a ConvNeXt of timm's"),
    (r"^features\.1\.0\.block\.0\.weight$", "a ConvNeXt of torchvision's"),
    (r"^features\.denseblock1\.|^dense1\.0\.", "a DenseNet"),
    (r"^features\.0\.weight$", "a VGG or an AlexNet"),
    (r"^(time_embed\.0|input_blocks\.0\.0)\.", "a diffusion model"),
    (r"^groups\.0\.conv1\.", "airbench"),
)
"""Of other networks: a name that some weight has, and what to say."""


def renamed(weights: Weights) -> Weights:
    """Return weights by our names."""
    found = {}
    for name, value in weights.items():
        for pattern, ours in RENAMES:
            name = pattern.sub(ours, name)
        found[name] = value
    return found


def stripped(weights: Weights) -> Weights:
    """Return weights without the PREFIXES that every one of them has, and without what is UNUSED."""
    weights = {name: value for name, value in weights.items() if not UNUSED.search(name)}
    while prefix := next((one for one in PREFIXES if weights and all(name.startswith(one) for name in weights)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    return weights


def looks_like(weights: Weights) -> dict | str | None:
    """Return the architecture whose weights these are, by their publisher's names: as `build` takes it, or in words.

    None where it is none that is known here.
    """
    ours = renamed(weights)
    blocks: list[int] = []
    while count := sum(bool(re.fullmatch(rf"layer{len(blocks) + 1}\.\d+\.conv1\.weight", name)) for name in ours):
        blocks.append(count)
    wanted = ("conv1.weight", "layer1.0.conv1.weight", "layer2.0.conv1.weight", "layer2.0.bn1.weight")
    if not blocks or not all(name in ours for name in wanted):
        return next((said for sign, said in LOOKS if any(re.search(sign, name) for name in weights)), None)
    stem, first, second, norm = (ours[name].shape for name in wanted)
    if norm[0] == second[1] != second[0]:
        return _pre_activation(weights, ours, blocks)
    last = max(name for name in ours if re.fullmatch(r"layer1\.0\.conv\d\.weight", name))
    return RESIDUAL.get((stem[-1], ours[last].shape[0], tuple(blocks), max(1, first[0] // 64)))


def _pre_activation(weights: Weights, ours: Weights, blocks: list[int]) -> dict | None:
    deepmind = {"variant": "deepmind"} if any(DEEPMIND.search(name) for name in weights) else {}
    if len(blocks) == 3 and len(set(blocks)) == 1:
        width = ours["layer1.0.conv1.weight"].shape[0] // 16
        return {"name": "wideresnet", "depth": 6 * blocks[0] + 4, "width": width} | deepmind
    if blocks != [2, 2, 2, 2]:
        return None
    return {"name": "preactresnet18"} | (deepmind or ({"variant": "rice"} if "bn1.weight" in ours else {}))


SAME_NAMES = ({"name": "preactresnet18"}, {"name": "preactresnet18", "variant": "fast"})
"""Architectures that no name or shape tells apart: accuracy must."""


def fits(looks: dict | str | None, architecture: dict) -> bool:
    """Tell whether weights that look like `looks` may be those of an architecture that was asked for."""
    if looks is None or "factory" in architecture or looks in (architecture, architecture["name"]):
        return True
    return looks in SAME_NAMES and architecture in SAME_NAMES
