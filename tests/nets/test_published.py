"""Networks that others publish, beside naive ones that are written down here with the publishers' names of weights."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import pagoda
from pagoda.errors import BadInput
from pagoda.nets.architectures import build, build_seeded

PICTURES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
NOISY = PICTURES + torch.randn(PICTURES.shape, generator=torch.Generator().manual_seed(2))
"""What leaves [0, 1]: a clamp would show."""
WIDE = {"name": "wideresnet", "depth": 16, "width": 1}
TRADES = {"names": (r"block{}.layer.{}.", 1, "bn1", "conv1", "bn2", "conv2", "convShortcut"), "ends": ("conv1", "bn1")}
DEEPMIND = {"names": (r"layer.{}.block.{}.", 0, "batchnorm_0", "conv_0", "batchnorm_1", "conv_1", "shortcut"),
            "ends": ("init_conv", "batchnorm"), "head": "logits", "activation": F.silu, "corner": True}  # fmt: skip
KUANGLIU = {"names": (r"layer{}.{}.", 1, "bn1", "conv1", "bn2", "conv2", "shortcut.0"), "ends": ("conv1", None),
            "head": "linear"}  # fmt: skip
DEEPMIND_18 = DEEPMIND | {"names": (r"layer_{}.{}.", 0, "batchnorm_0", "conv_2d_1", "batchnorm_1", "conv_2d_2",
                          "shortcut"), "ends": ("conv_2d", "batchnorm"), "raw": True}  # fmt: skip


def norm(weights, name, x):
    moments = (weights[f"{name}.running_{what}"] for what in ("mean", "var"))
    return F.batch_norm(x, *moments, weights[f"{name}.weight"], weights[f"{name}.bias"])


def pre_activation(weights, x, stages, names, ends, head="fc", activation=F.relu, corner=False, raw=False):
    """A pre-activation net, block by block: `corner`: TensorFlow's padding; `raw`: shortcuts from before the norm."""
    place, first, *inner = names

    def halving(y, weight, stride):
        if stride == 2 and corner and weight.shape[-1] == 3:
            return F.conv2d(F.pad(y, (0, 1, 0, 1)), weight, stride=2)
        return F.conv2d(y, weight, stride=stride, padding=weight.shape[-1] // 2)

    x = F.conv2d(x, weights[f"{ends[0]}.weight"], padding=1)
    for stage in range(stages):
        for number in range(2):
            norm1, conv1, norm2, conv2, shortcut = (place.format(stage + first, number) + name for name in inner)
            stride = 2 if stage and not number else 1
            y = activation(norm(weights, norm1, x))
            z = activation(norm(weights, norm2, halving(y, weights[f"{conv1}.weight"], stride)))
            if f"{shortcut}.weight" in weights:
                x = halving(x if raw else y, weights[f"{shortcut}.weight"], stride)
            x = x + F.conv2d(z, weights[f"{conv2}.weight"], padding=1)
    x = activation(norm(weights, ends[1], x)) if ends[1] else x
    return F.linear(x.mean((2, 3)), weights[f"{head}.weight"], weights[f"{head}.bias"])


def alive(network):
    """Return a network whose batch norms are not those of a new one, in eval mode."""
    source = torch.Generator().manual_seed(0)
    for name, one in [*network.named_buffers(), *network.named_parameters()]:
        if re.search(r"(bn|downsample\.1|dncnn)[^.]*\..*", name) and one.is_floating_point() and one.dim() == 1:
            one.data.copy_(torch.rand(one.shape, generator=source) + 0.5)
    return network.eval()


def as_published(network, names, ends, head="fc", **_):
    """Return the weights of one of our pre-activation nets by the names that its publisher gives them."""
    place, first, *inner = names
    ours = ("bn1", "conv1", "bn2", "conv2", "downsample.0")
    found = {}
    for name, value in network.state_dict().items():
        if block := re.match(r"layer(\d)\.(\d)\.(bn\d|conv\d|downsample\.0)\.(.*)", name):
            stage, number, what, rest = block.groups()
            theirs = inner[ours.index(what)]
            found[f"{place.format(int(stage) - 1 + first, number)}{theirs}.{rest}"] = value
        else:
            top = {"conv1": ends[0], "bn1": ends[1], "fc": head}
            found[re.sub(r"^\w+", lambda found, top=top: top[found[0]], name)] = value
    return found


@pytest.mark.parametrize(
    ("architecture", "form"),
    [
        (WIDE, TRADES),
        (WIDE | {"variant": "deepmind"}, DEEPMIND),
        ({"name": "preactresnet18"}, KUANGLIU),
        ({"name": "preactresnet18", "variant": "fast"}, KUANGLIU | {"raw": True}),
        ({"name": "preactresnet18", "variant": "rice"}, KUANGLIU | {"ends": ("conv1", "bn")}),
        ({"name": "preactresnet18", "variant": "deepmind"}, DEEPMIND_18),
    ],
    ids=lambda value: value.get("variant", "plain") if "name" in value else "",
)
def test_pre_activation_nets_are_those_of_each_publisher(tmp_path, architecture, form):
    weights = as_published(alive(build_seeded(0, architecture, 10, 3)), **form)
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, tmp_path / "c.pt")
    found = pagoda.import_checkpoint(
        tmp_path / "c.pt", architecture=architecture, classes=10, mean=[0.5, 0.4, 0.3], std=[0.2] * 3
    )
    stages = 3 if architecture["name"] == "wideresnet" else 4
    for x in (PICTURES, NOISY):
        with torch.no_grad():
            expected = pre_activation(weights, (x - torch.tensor([0.5, 0.4, 0.3]).view(-1, 1, 1)) / 0.2, stages, **form)
            torch.testing.assert_close(found(x), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_code_that_gives_the_same_shapes_is_told_apart_by_its_names(tmp_path):
    torch.save(as_published(build(WIDE | {"variant": "deepmind"}, 10, 3), **DEEPMIND), tmp_path / "c.pt")
    with pytest.raises(BadInput, match=r"does not fit wideresnet \(depth 16, width 1\): it looks like .*deepmind\)$"):
        pagoda.import_checkpoint(tmp_path / "c.pt", architecture=WIDE, classes=10, mean=[0] * 3, std=[1] * 3)


@pytest.mark.parametrize("name", ["resnet18", "cifar-resnet50"])
def test_residual_nets_for_small_pictures_have_kuanglius_names(tmp_path, name):
    network = alive(build_seeded(0, {"name": name}, 10, 3))
    weights = {
        key.replace("fc.", "linear.").replace("downsample", "shortcut"): value
        for key, value in network.state_dict().items()
    }
    inside = {"mu": torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), "sigma": torch.full((1, 3, 1, 1), 0.2)}
    torch.save(weights | inside, tmp_path / "c.pt")
    found = pagoda.import_checkpoint(tmp_path / "c.pt", architecture=name, classes=10)

    def residual(x):
        x = F.relu(norm(weights, "bn1", F.conv2d(x, weights["conv1.weight"], padding=1)))
        for stage, blocks in enumerate((2, 2, 2, 2) if name == "resnet18" else (3, 4, 6, 3)):
            for number in range(blocks):
                place, stride = f"layer{stage + 1}.{number}.", 2 if stage and not number else 1
                y, count = x, 2 if name == "resnet18" else 3
                for layer in range(1, count + 1):
                    kernel = weights[f"{place}conv{layer}.weight"]
                    halved = stride if layer == (1 if count == 2 else 2) else 1  # a bottleneck's 3 x 3 halves the side
                    y = norm(weights, f"{place}bn{layer}", F.conv2d(y, kernel, None, halved, kernel.shape[-1] // 2))
                    y = F.relu(y) if layer < count else y
                if (kernel := weights.get(f"{place}shortcut.0.weight")) is not None:
                    x = norm(weights, f"{place}shortcut.1", F.conv2d(x, kernel, None, stride))
                x = F.relu(x + y)
        return F.linear(x.mean((2, 3)), weights["linear.weight"], weights["linear.bias"])

    with torch.no_grad():
        expected = residual((NOISY - inside["mu"]) / 0.2)
        torch.testing.assert_close(found(NOISY), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_net_for_handwritten_digits():
    network = build_seeded(0, {"name": "lenet"}, 10, 1)
    weights, x = network.state_dict(), torch.rand(2, 1, 28, 28)
    y = x
    for name in ("conv1", "conv2"):
        y = F.max_pool2d(F.relu(F.conv2d(y, weights[f"{name}.weight"], weights[f"{name}.bias"])), 2, 2)
    y = F.relu(F.linear(y.view(-1, 4 * 4 * 50), weights["fc1.weight"], weights["fc1.bias"]))
    torch.testing.assert_close(network(x), F.linear(y, weights["fc2.weight"], weights["fc2.bias"]))


@pytest.mark.parametrize(
    ("architecture", "size"),
    [
        ({"factory": "torchvision.models:resnet18"}, 32),
        ({"factory": "torchvision.models:vit_b_32", "image_size": 32}, 32),
        ({"factory": "torchvision.models:convnext_tiny"}, 32),
        ({"factory": "timm:create_model", "model_name": "vit_tiny_patch16_224", "img_size": 32}, 32),
        ({"factory": "timm:create_model", "model_name": "convnext_atto"}, 32),
    ],
    ids=lambda value: value.get("model_name", value["factory"]) if isinstance(value, dict) else "",
)
def test_torchvisions_and_timms_networks_by_name(tmp_path, architecture, size):
    if architecture["factory"].startswith("timm"):
        pytest.importorskip("timm", reason="timm is not installed")
    network = alive(build_seeded(0, architecture, 7, 3))
    torch.save({"model": nn.DataParallel(network).state_dict(), "epoch": 300}, tmp_path / "c.pt")
    save_file(network.state_dict(), tmp_path / "c.safetensors")
    asked, x = {"mean": [0.5] * 3, "std": [0.25] * 3, "classes": 7}, torch.rand(2, 3, size, size)
    for name in ("c.pt", "c.safetensors"):
        found = pagoda.import_checkpoint(tmp_path / name, architecture=architecture, **asked)
        with torch.no_grad():
            torch.testing.assert_close(found(x), network((x - 0.5) / 0.25))


OWN = """
import torch


class Own(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("std", torch.ones(1, 3, 1, 1))
        self.head = torch.nn.Linear(3 * 64, classes)

    def forward(self, x):
        return self.head(((x - self.mean) / self.std).flatten(1))


def own(classes, channels):
    return Own(classes)
"""


def test_a_network_that_normalises_by_itself_has_its_moments_and_they_must_be_numbers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "normalises.py").write_text(OWN)
    asked = {"architecture": {"factory": "normalises:own"}, "classes": 7}
    network = build_seeded(0, asked["architecture"], 7, 3)
    network.mean += 0.3
    network.std *= 0.4
    torch.save(nn.DataParallel(network).state_dict(), tmp_path / "c.pt")
    with torch.no_grad():
        torch.testing.assert_close(pagoda.import_checkpoint(tmp_path / "c.pt", **asked)(NOISY), network(NOISY))
    for name, value, said in (
        ("mean", float("nan"), "not finite numbers: mean"),
        ("std", 0.0, r"std \(0\.0, .*: must be above 0"),
    ):
        outside = {"mean": torch.zeros(3), "std": torch.ones(3)} | {name: torch.full((3,), value)}
        torch.save(build(WIDE, 10, 3).state_dict() | outside, tmp_path / "c.pt")
        with pytest.raises(BadInput, match=said):
            pagoda.import_checkpoint(tmp_path / "c.pt", architecture=WIDE, classes=10)


def test_each_picture_may_be_standardised_by_itself(tmp_path):
    network = alive(build_seeded(0, WIDE, 10, 3))
    torch.save(as_published(network, **TRADES), tmp_path / "c.pt")
    found = pagoda.import_checkpoint(tmp_path / "c.pt", architecture=WIDE, classes=10, standardise=True)
    flat = torch.full((1, 3, 8, 8), 0.25)
    flat[0, 0, 0, 0] += 1e-3  # its deviation, 7e-5, is below the least, 1 / sqrt(192)
    for x, least in ((NOISY, 0.0), (flat, 192**-0.5)):
        mean = x.mean((1, 2, 3), keepdim=True)
        std = (((x - mean) ** 2).sum((1, 2, 3), keepdim=True) / 191).sqrt().clamp(min=least)
        with torch.no_grad():
            torch.testing.assert_close(found(x), network((x - mean) / std), rtol=1e-3, atol=1e-3)
