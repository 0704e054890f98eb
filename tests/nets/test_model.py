import json

import pytest
import safetensors.torch
import torch

from pagoda.data.dataset import read_description
from pagoda.errors import BadInput
from pagoda.nets.architectures import ARCHITECTURES, build, build_seeded, fold_batch_norms
from pagoda.nets.model import Identity, check_fits, load_model, save_model
from tests.conftest import write_model

CPU = torch.device("cpu")


def test_a_model_file_rebuilds_the_network_and_its_normalisation(model, dataset):
    loaded = load_model(model, CPU)
    known = read_description(dataset)
    assert (loaded.identity.classes, loaded.identity.objective["sigma"]) == (known.classes, 0.5)
    x = torch.rand(2, 1, 8, 8)
    normalised = (x - known.mean[0]) / known.std[0]
    torch.testing.assert_close(loaded.classifier(x), loaded.classifier.network(normalised))
    assert not loaded.classifier.training


def test_the_same_weights_give_the_same_bytes(model, dataset, tmp_path):
    again = write_model(tmp_path / "again" / "model.safetensors", dataset)
    assert again.read_bytes() == model.read_bytes()


def test_truncated_and_foreign_files_are_named(model, tmp_path):
    content = model.read_bytes()
    truncated = tmp_path / "truncated.safetensors"
    foreign, other = tmp_path / "foreign.safetensors", tmp_path / "other.safetensors"
    truncated.write_bytes(content[: len(content) // 2])
    foreign.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}))
    identity = json.loads(safetensors.safe_open(model, "pt").metadata()["pagoda"])
    other.write_bytes(safetensors.torch.save({"weight": torch.zeros(2)}, {"pagoda": json.dumps(identity)}))
    for path, said in (
        (truncated, "truncated"),
        (foreign, "metadata"),
        (other, "does not hold the weights of .*airbench"),
        (tmp_path / "none.safetensors", "no model at"),
    ):
        with pytest.raises(BadInput, match=said) as caught:
            load_model(path, CPU)
        assert str(path) in str(caught.value)


def test_a_model_for_other_pictures_is_refused(dataset, tmp_path):
    known = read_description(dataset)
    for changes, said in (({"size": 16}, "1 x 16 x 16"), ({"classes": ("a", "b")}, "classes a, b")):
        path = write_model(tmp_path / "m.safetensors", dataset, **changes)
        with pytest.raises(BadInput, match=said):
            check_fits(path, load_model(path, CPU).identity, dataset, known)


@pytest.mark.parametrize(
    # Published sizes: He et al. 2016, table 6 (0.27 M, 1.7 M; a projection shortcut adds 2,752), and torchvision's.
    ("name", "size", "low", "high"),
    [
        ("resnet18", 32, 11.16e6, 11.18e6),
        ("resnet20", 32, 0.27e6, 0.28e6),
        ("resnet110", 32, 1.7e6, 1.74e6),
        ("resnet50", 64, 25.5e6, 25.6e6),
    ],
)
def test_published_architectures_have_their_published_size(name, size, low, high):
    network = build({"name": name}, 1000 if name == "resnet50" else 10, 3).eval()
    assert low < sum(p.numel() for p in network.parameters()) < high
    assert network(torch.rand(1, 3, size, size)).isfinite().all()


def test_cifar_resnet_has_the_parameter_names_of_published_checkpoints():
    names = set(build({"name": "resnet20"}, 10, 3).state_dict())
    published = (
        "conv1.weight",
        "layer1.2.bn2.bias",
        "layer2.0.downsample.0.weight",
        "layer3.0.downsample.1.weight",
    )
    assert names >= {*published, "fc.weight", "bn1.running_mean"}


def test_unknown_architectures_and_options_are_refused():
    with pytest.raises(BadInput, match="'vgg' is unknown: choose from airbench"):
        build({"name": "vgg"}, 10, 3)
    with pytest.raises(BadInput, match="resnet20 does not take"):
        build({"name": "resnet20", "width": 3}, 10, 3)


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("nowhere:net", r"'nowhere:net', written module:function, cannot be imported .*: ModuleNotFoundError"),
        ("torch.nn:Nothing", "AttributeError"),
        ("torch.nn", "cannot be imported"),
        ("torch.nn:Linear", "torch.nn:Linear failed, called with {'num_classes': 10, 'in_chans': 1}: TypeError"),
        ("collections:Counter", "collections:Counter made a Counter, not a torch.nn.Module"),
    ],
)
def test_a_factory_that_makes_no_network_is_named_in_one_line(factory, said, dataset, tmp_path):
    with pytest.raises(BadInput, match=rf"^architecture factory .*{said}[^\n]*$"):
        build({"factory": factory}, 10, 1)
    path, identity = tmp_path / "model.safetensors", Identity.of(
        read_description(dataset), architecture={"factory": factory}, objective={"name": "standard"}, seed=0,
        precision="float32", code="none",
    )  # fmt: skip
    save_model(path, torch.nn.Linear(1, 1), identity)
    with pytest.raises(BadInput, match=rf"^{path}: architecture factory"):
        load_model(path, CPU)


def test_an_installed_factory_is_called_as_its_library_has_it():
    network = build({"factory": "torchvision.models:resnet18"}, 7, 3)
    assert network.fc.out_features == 7


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_company_in_a_batch_changes_no_logit(tmp_path, dataset, precision):
    path = write_model(tmp_path / "model.safetensors", dataset, precision=precision)
    classifier = load_model(path, torch.device("cpu")).classifier
    x = torch.rand(58, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        whole = classifier(x)
        assert whole.dtype == getattr(torch, precision)
        for batch in (2, 7, 29):
            assert torch.equal(torch.cat([classifier(part) for part in x.split(batch)]), whole)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"denoised", "gaussians", "lenet"}))  # others test those
def test_folded_batch_norms_leave_the_function_as_it_was(name):
    options = {"airbench": {"widths": [8, 16]}, "wideresnet": {"depth": 10, "width": 1}}.get(name, {})
    network = build_seeded(0, {"name": name} | options, 10, 3).eval()
    for place, buffer in network.named_buffers():
        if "running" in place:
            buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(1)) + 0.5)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        before = network(x)
        fold_batch_norms(network)
        after = network(x)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    left = [place for place, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert all(place.endswith("bn1") for place in left) and bool(left) == (name in ("preactresnet18", "wideresnet"))
