"""Checkpoints written with each format's keys, imported again; and those that do not fit."""

import importlib
import os
import re
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from pagoda.errors import BadInput
from pagoda.nets.architectures import build_seeded
from pagoda.nets.importers import FORMATS, fit, read_checkpoint
from pagoda.nets.model import load_model
from steps import import_model

MEAN, STD = (0.3,), (0.4,)


def network(classes=10):
    """A ResNet-20 whose batch-norms are not those of a new one."""
    made = build_seeded(3, {"name": "resnet20"}, classes, 1).eval()
    random = torch.Generator().manual_seed(0)
    for name, buffer in made.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=random) + 0.5)
    return made


def prefixed(weights, prefix):
    return {f"{prefix}{name}": value for name, value in weights.items()}


def checkpoint(form, weights):
    """What each project's training writes."""
    normalizer = {"module.normalizer.new_mean": torch.tensor(MEAN), "module.normalizer.new_std": torch.tensor(STD)}
    theirs = {name.replace("fc.", "linear.").replace("downsample", "shortcut"): v for name, v in weights.items()}
    return {
        "auto": {"net": weights, "epoch": 440},
        "locuslab": {"epoch": 90, "arch": "cifar_resnet20", "state_dict": prefixed(weights, "1."), "optimizer": {}},
        "smoothadv": {"epoch": 9, "arch": "x", "state_dict": prefixed(weights, "1.module."), "optimizer": {}},
        "robustness": {
            "model": prefixed(theirs, "module.model.") | prefixed(theirs, "module.attacker.model.") | normalizer,
            "epoch": 3,
        },
        "robustbench": {
            "state_dict": prefixed(weights, "module.model.")
            | {"module.mu": torch.tensor(MEAN).view(1, 1, 1), "module.sigma": torch.tensor(STD).view(1, 1, 1)}
        },
        "torchvision": weights,
    }[form]


@pytest.fixture
def asked(tmp_path, dataset):
    return import_model.Config(
        file=str(tmp_path / "checkpoint.pth"), format="locuslab", data=dataset, architecture={"name": "resnet20"},
        out=tmp_path / "gaussian-0.5" / "model.safetensors", model={"objective": "gaussian", "sigma": 0.5},
        mean=MEAN, std=STD, images=50,
    )  # fmt: skip


def changed(config, **changes):
    return config.model_copy(update=changes)


@pytest.mark.parametrize("form", FORMATS)
def test_an_imported_model_says_what_the_original_said(asked, form):
    original = network()
    torch.save(checkpoint(form, original.state_dict()), asked.file)
    held, clamped = form in ("robustness", "robustbench"), form == "robustness"
    config = changed(asked, format=form, **({"mean": (), "std": ()} if held else {}))
    summary = import_model.run(config)
    loaded = load_model(config.out, torch.device("cpu"))
    x = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = original((x - MEAN[0]) / STD[0])
        assert torch.allclose(loaded.classifier(x), expected, atol=1e-4)
        # Noise that leaves [0, 1] counts, unless the publisher clamps it.
        seen = (x + 0.5).clamp(0, 1) if clamped else x + 0.5
        assert torch.allclose(loaded.classifier(x + 0.5), original((seen - MEAN[0]) / STD[0]), atol=1e-4)
    assert loaded.identity.objective == {"name": "gaussian", "sigma": 0.5}
    assert loaded.identity.prepare == (("clamp",) if clamped else ()) == tuple(summary["prepare"])
    assert summary["n"] == 50 and 0 <= summary["noisy_accuracy"] <= 1


@pytest.mark.parametrize(("form", "clamp"), [("robustness", False), ("locuslab", True)])
def test_a_clamp_can_be_dropped_or_added(asked, form, clamp):
    original = network()
    torch.save(checkpoint(form, original.state_dict()), asked.file)
    config = changed(asked, format=form, clamp=clamp, **({"mean": (), "std": ()} if form == "robustness" else {}))
    import_model.run(config)
    x = torch.rand(5, 1, 8, 8) * 3 - 1
    with torch.no_grad():
        expected = original(((x.clamp(0, 1) if clamp else x) - MEAN[0]) / STD[0])
        torch.testing.assert_close(load_model(config.out).classifier(x), expected, rtol=1e-3, atol=1e-4)


def test_old_files_that_count_no_batches_fit(asked):
    weights = {name: value for name, value in network().state_dict().items() if "num_batches" not in name}
    torch.save(checkpoint("locuslab", weights), asked.file)
    import_model.run(asked)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda w: w.pop("layer2.0.conv1.weight"), r"does not fit resnet20 .*: missing layer2\.0\.conv1\.weight$"),
        (
            lambda w: w.update({"conv1.weight": torch.full((16, 1, 3, 3), torch.nan)}),
            "not finite numbers: conv1.weight$",
        ),
        (lambda w: w.update(extra=torch.zeros(1)), "left over extra"),
        (lambda w: w.update({"conv1.weight": torch.zeros(16, 3, 3, 3)}), "conv1.weight is 16 x 3 x 3 x 3, not 16 x 1"),
        (
            lambda w: w.update(network(100).state_dict()),
            r"10 classes \(it looks like resnet20\): fc.bias is 100, not 10; fc.weight is 100 x",
        ),
    ],
)
def test_weights_that_do_not_fit_are_listed(asked, spoil, said):
    weights = network().state_dict()
    spoil(weights)
    torch.save(checkpoint("locuslab", weights), asked.file)
    with pytest.raises(BadInput, match=said):
        import_model.run(asked)
    assert not asked.out.exists()


def test_a_pickle_that_runs_code_is_not_read(asked, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    torch.save({"state_dict": network().state_dict(), "optimizer": Bomb()}, asked.file)
    with pytest.raises(BadInput, match="would run code from the file: only if you trust who made it"):
        import_model.run(asked)
    assert not (tmp_path / "exploded").exists()


def test_a_trusted_pickle_is_read(asked):
    held = {"state_dict": prefixed(network().state_dict(), "1."), "schedule": Namespace(lr=0.1)}
    torch.save(held, asked.file)
    with pytest.raises(BadInput, match="trusted: true"):
        read_checkpoint(Path(asked.file), "locuslab")
    fit(read_checkpoint(Path(asked.file), "locuslab", trusted=True), {"name": "resnet20"}, 10, 1)


@pytest.mark.parametrize("core", ["_core", "core"])  # of NumPy 2, and of NumPy 1, with which most files were written
def test_numbers_of_numpy_beside_the_weights_need_no_trust(asked, core):
    beside = {"best": np.float64(0.9), "step": np.int64(3), "history": np.arange(3.0), "arch": np.str_("x")}
    torch.save(checkpoint("locuslab", network().state_dict()) | beside, asked.file)
    with zipfile.ZipFile(asked.file) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(asked.file, "w") as file:
        for name, content in parts.items():
            file.writestr(name, re.sub(rb"numpy\._?core\.", f"numpy.{core}.".encode(), content))
    import_model.run(asked)


def test_an_object_of_a_module_that_is_not_installed_is_one_line(asked, tmp_path, monkeypatch):
    (tmp_path / "their_code.py").write_text("class Schedule:\n    rate = 0.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    held = importlib.import_module("their_code").Schedule()
    torch.save(checkpoint("locuslab", network().state_dict()) | {"schedule": held}, asked.file)
    monkeypatch.delitem(sys.modules, "their_code")
    (tmp_path / "their_code.py").unlink()
    importlib.invalidate_caches()
    with pytest.raises(BadInput, match=r"holds an object whose code is not installed \(No module named 'their_code'\)"):
        import_model.run(changed(asked, trusted=True))
    with pytest.raises(BadInput, match="trusted: true"):
        import_model.run(asked)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"name": "resnet18"}, "resnet18"),
        ({"name": "cifar-resnet50"}, "cifar-resnet50"),
        ({"name": "resnet110"}, "resnet110"),
        ({"name": "wideresnet", "depth": 10, "width": 2}, r"wideresnet \(depth 10, width 2\)"),
        ({"name": "preactresnet18", "variant": "rice"}, r"preactresnet18 \(variant rice\)"),
        ({"name": "airbench", "widths": [8, 16]}, "airbench"),
        ({"factory": "torchvision.models:wide_resnet50_2"}, "torchvision.models:wide_resnet50_2"),
        ({"factory": "torchvision.models:vit_b_32"}, "a vision transformer of torchvision's"),
    ],
    ids=str,
)
def test_of_another_architecture_it_is_said_which_it_looks_like(asked, theirs, said):
    channels = 3 if "factory" in theirs else 1
    torch.save(build_seeded(0, theirs, 10, channels).state_dict(), asked.file)
    with pytest.raises(BadInput, match=rf"checkpoint\.pth does not fit resnet20: it looks like {said}$"):
        import_model.run(changed(asked, format="auto"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": "robustness"}, r"is not of format robustness: it holds epoch, arch, state_dict, optimizer"),
        ({"mean": (), "std": ()}, "does not hold the normalisation of its pictures: give mean and std"),
        ({"mean": (0.1, 0.2, 0.3), "std": (1, 1, 1)}, "the pictures have 1 channels"),
    ],
)
def test_what_is_asked_for_wrongly_is_one_line(asked, changes, said):
    torch.save(checkpoint("locuslab", network().state_dict()), asked.file)
    with pytest.raises(BadInput, match=said):
        import_model.run(changed(asked, **changes))


def test_what_is_no_checkpoint_is_named(asked):
    with pytest.raises(BadInput, match=r"no checkpoint at .*checkpoint\.pth"):
        import_model.run(asked)
    Path(asked.file).write_bytes(b"<html>not found</html>")
    with pytest.raises(BadInput, match=r"checkpoint\.pth is no checkpoint of PyTorch's: it begins with b'<html>"):
        import_model.run(asked)
    torch.save({"epoch": 3}, asked.file)
    with pytest.raises(BadInput, match=r"checkpoint\.pth holds no weights by their names: it holds epoch$"):
        import_model.run(changed(asked, format="auto"))


def test_an_accuracy_near_chance_is_warned_of(asked, caplog):
    torch.save(checkpoint("locuslab", network().state_dict()), asked.file)  # it was never trained
    with caplog.at_level("WARNING", logger="pagoda"):
        import_model.run(asked)
    assert "noisy accuracy" in caplog.text and "is near chance, 0.100: are the mean and std" in caplog.text
