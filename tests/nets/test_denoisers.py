"""A denoiser before a classifier: one base classifier, certified and ascended as a whole."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pagoda.data.dataset import Split
from pagoda.errors import BadInput
from pagoda.nets.architectures import build_seeded
from pagoda.nets.denoisers import SCHEDULES, OneShot, build_denoiser
from pagoda.nets.model import load_model
from steps import ascend, certify, import_model
from tests.nets.test_published import alive

SHALLOW = {"name": "dncnn", "depth": 4, "width": 6}
CLASSIFIER = {"name": "resnet20"}


def dncnn(weights, x):
    """Depth 4, by the names of published files: convolutions 0, 2, 5 and 8, norms (epsilon 1e-4) behind 2 and 5."""
    y = F.relu(F.conv2d(x, weights["dncnn.0.weight"], weights["dncnn.0.bias"], padding=1))
    for number in (2, 5):
        y = F.conv2d(y, weights[f"dncnn.{number}.weight"], padding=1)
        name = f"dncnn.{number + 1}"
        moments = (weights[f"{name}.running_mean"], weights[f"{name}.running_var"])
        y = F.relu(F.batch_norm(y, *moments, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-4))
    return x - F.conv2d(y, weights["dncnn.8.weight"], padding=1)


@pytest.fixture
def imported(tmp_path, dataset):
    """The options of an import of a denoiser and a classifier with random weights; and the two."""
    denoiser, network = alive(build_denoiser(SHALLOW, 1)), alive(build_seeded(0, CLASSIFIER, 10, 1))
    torch.save({"arch": "cifar_dncnn", "state_dict": nn.DataParallel(denoiser).state_dict()}, tmp_path / "d.pth.tar")
    torch.save({"state_dict": {f"1.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "c.pth.tar")
    asked = import_model.Config(
        file=str(tmp_path / "c.pth.tar"), mean=[0.3], std=[0.4], clamp=True, data=dataset, images=20,
        architecture=CLASSIFIER, model={"objective": "gaussian", "sigma": 0.25},
        out=tmp_path / "gaussian-0.25" / "model.safetensors",
        denoiser={"architecture": SHALLOW, "file": str(tmp_path / "d.pth.tar")},
    )  # fmt: skip
    import_model.run(asked)
    return asked, denoiser, network


def test_the_denoiser_sees_the_noisy_picture_and_the_classifier_what_it_makes(imported):
    asked, denoiser, network = imported
    x = torch.rand(4, 1, 8, 8) + torch.randn(4, 1, 8, 8)
    loaded = load_model(asked.out)
    with torch.no_grad():
        expected = network((dncnn(denoiser.state_dict(), x).clamp(0, 1) - 0.3) / 0.4)
        torch.testing.assert_close(loaded.classifier(x), expected, rtol=1e-3, atol=1e-3)
    assert loaded.identity.architecture["denoiser"] == SHALLOW and loaded.identity.architecture["prepare"] == ["clamp"]


def test_the_pair_is_certified_and_ascended(imported, dataset, tmp_path):
    model = imported[0].out
    table = tmp_path / "sigma=0.25.tsv"
    certify.run(certify.Config(model=model, data=dataset, out=table, sigma=0.25, images=3, n=40, mode="fixed"))
    assert len([line for line in table.read_text().splitlines() if line and line[0].isdigit()]) == 3
    out = tmp_path / "ascents.npz"
    ascend.run(
        ascend.Config(
            model=model, data=dataset, out=out, target="3", sigma=0.25, epsilon=1, images=2, steps=3, step=0.5,
            draws=8, check_draws=8,
        )
    )  # fmt: skip
    assert out.exists()
    x = Split(dataset, "test").images(range(2)).requires_grad_(True)
    load_model(model).classifier(x).sum().backward()
    assert x.grad.abs().sum() > 0  # through both


class Knowing(nn.Module):
    """A noise predictor that knows the clean picture; as improved diffusion's, it gives variances too."""

    def __init__(self, clean, signal):
        super().__init__()
        self.clean, self.signal, self.times = clean, signal, []

    def forward(self, x, times):
        self.times.append(times)
        noise = (x - math.sqrt(self.signal) * (2 * self.clean - 1)) / math.sqrt(1 - self.signal)
        return torch.cat([noise, torch.zeros_like(noise)], dim=1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_step_of_a_diffusion_model_gives_the_picture_that_its_noise_predictor_means(schedule):
    signal, clean = SCHEDULES[schedule](1000), torch.rand(2, 3, 4, 4)
    assert 0 < signal[-1] < 0.01 < 0.99 < signal[0] < 1 and (signal.diff() < 0).all()
    at = OneShot(nn.Identity(), signal, sigma=0.25).time
    # Noise of .25 is .5 in [-1, 1]: the first time whose noise beside its signal is as large.
    levels = [math.sqrt((1 - a) / a) for a in signal.tolist()]
    assert levels[at - 1] < 0.5 <= levels[at]
    network = Knowing(clean, float(signal[at]))
    found = OneShot(network, signal, sigma=0.25)(clean + 0.25 * torch.randn(clean.shape))
    torch.testing.assert_close(found, clean, rtol=0, atol=1e-4)
    assert network.times[0].tolist() == [at, at]


def test_published_schedules():
    # Ho et al. 2020: beta from 1e-4 to .02 in 1000 steps. Nichol & Dhariwal 2021: half of it at half of the time.
    assert float(SCHEDULES["linear"](1000)[1]) == pytest.approx((1 - 1e-4) * (1 - 1e-4 - 0.0199 / 999), abs=1e-9)
    assert float(SCHEDULES["cosine"](4000)[1999]) == pytest.approx(0.5, abs=0.02)


def test_a_diffusion_model_is_a_denoiser_by_the_name_of_its_factory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_unet.py").write_text(UNET)
    asked = {"factory": "pagoda.nets.denoisers:one_shot", "network": {"factory": "my_unet:unet"}, "sigma": 0.25}
    found = build_denoiser(asked, 3)
    assert found(torch.rand(2, 3, 8, 8)).shape == (2, 3, 8, 8)
    with pytest.raises(BadInput, match="sigma is 1000: the diffusion model's noise ends below"):
        build_denoiser(asked | {"sigma": 1000}, 3)
    with pytest.raises(BadInput, match="denoiser 'median' is unknown: choose from dncnn, or name a factory"):
        build_denoiser({"name": "median"}, 3)


UNET = """
import torch


def unet(channels):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(channels, 2 * channels, 3, padding=1)

        def forward(self, x, times):
            return self.conv(x)

    return Net()
"""
