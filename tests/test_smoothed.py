import ast
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import special, stats
from torch import nn

import pagoda
from pagoda import ABSTAIN, BadInput, Smoothed
from pagoda.data.dataset import Split
from pagoda.maths.noise import CHUNK, noise_chunk
from steps import ascend, certify
from tests.conftest import ROOT

SIGMA = 0.5


class Linear(nn.Module):
    """Two classes, class 1 where <w, x - 1/2> > 0: smoothed, it has closed forms. Its parameters require gradients."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, generator=torch.Generator().manual_seed(3)))

    def forward(self, x):
        margin = (x.flatten(1) - 0.5) @ self.weight
        return torch.stack([-margin, margin], dim=1)


@pytest.fixture
def network():
    return Linear().eval()


@pytest.fixture
def smoothed(network):
    return Smoothed(network, sigma=SIGMA, classes=2)


def image_at(network, distance):
    """An image at a signed L2 distance from the border between the classes: towards class 1 above 0."""
    weight = network.weight.detach()
    return 0.5 + distance * (weight / weight.norm()).view(1, 4, 4)


def test_a_linear_classifier_is_certified_up_to_its_distance_from_the_border(network, smoothed):
    found = smoothed.certify(torch.stack([image_at(network, d) for d in (0.3, -0.6, 0.0)]), n=20_000)
    assert [c.prediction for c in found] == [1, 0, ABSTAIN]
    assert 0.28 < found[0].radius <= 0.3 and 0.56 < found[1].radius <= 0.6 and found[2].radius == 0
    for certificate in found:
        exact = stats.binomtest(certificate.successes, 20_000, alternative="greater").proportion_ci(1 - 0.001).low
        assert certificate.lower == pytest.approx(exact, rel=1e-9)
        assert certificate.successes / 20_000 == pytest.approx(stats.norm.cdf(certificate.radius / SIGMA), abs=0.02)
    assert smoothed.certify(image_at(network, 0.3), n=20_000, mode="grid", radii=[0.1]).draws < 20_000


def test_predict_is_a_naive_loop_over_the_same_draws(network, smoothed):
    images = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = []
    for k, image in enumerate(images):
        draws = torch.cat([noise_chunk((1, 4, 4), SIGMA, "cpu", (7, k, "predict", part)) for part in range(2)])[:150]
        votes = [int(network((image + draw)[None])[0].argmax()) for draw in draws]
        top = max((0, 1), key=votes.count)
        expected.append(top if stats.binomtest(votes.count(top), 150).pvalue <= 0.001 else ABSTAIN)
    assert CHUNK < 150 and len(set(expected)) == 3
    assert smoothed.predict(images, n=150, seed=7) == expected
    assert smoothed.predict(images, n=150, seed=7, batch=11) == expected


def test_score_and_gradient_of_a_linear_classifier_agree_with_quadrature(network, smoothed):
    spread = SIGMA * float(network.weight.norm().detach())
    for distance in (0.2, -0.4):
        centre = distance / SIGMA * spread
        p, slope = (
            stats.norm(centre, spread).expect(lambda m, f=f: f(special.expit(2 * m)))
            for f in (lambda q: q, lambda q: 2 * q * (1 - q))
        )
        x = image_at(network, distance)
        assert float(smoothed.score(x, 1, draws=20_000, batch=5000)) == pytest.approx(p, rel=0.02)
        gradient = smoothed.gradient(x, 1, draws=20_000, batch=5000)
        torch.testing.assert_close(gradient.flatten(), network.weight.detach() * slope / p, rtol=0.05, atol=0.01)
    assert network.weight.grad is None
    assert float(smoothed.split_half(x, 1)) == pytest.approx(1, abs=1e-5)  # every gradient lies along the weights


def test_an_ascent_of_a_linear_classifier_goes_straight(network, smoothed):
    seen, x = [], image_at(network, -0.3)
    found = smoothed.ascend(x, 1, epsilon=0.4, steps=12, draws=8, frames=3, watch=seen.append)
    torch.testing.assert_close(found.end, image_at(network, 0.1))
    assert found.p_path.shape == (12,) and found.p_path[-1] > found.p_path[0]
    assert found.frame_steps == [0, 6, 12] and found.frames.shape == (3, 1, 4, 4) and seen == list(range(1, 13))
    assert torch.equal(found.frames[0], (255 * x).round().byte())


def test_results_have_the_form_of_the_images(smoothed):
    many = np.random.default_rng(0).random((3, 1, 4, 4))  # float64, as NumPy has it
    target, few = [1, 0, 1], {"draws": 4}
    for kind, given in ((np.ndarray, many), (torch.Tensor, torch.tensor(many))):
        for shape, x, t in (((3,), given, target), ((), given[0], 1)):
            found = smoothed.ascend(x, t, epsilon=0.1, steps=2, **few)
            results = {
                (*shape, 1, 4, 4): [smoothed.gradient(x, t, **few), found.end, found.frames[0]],
                shape: [smoothed.score(x, t, **few), smoothed.split_half(x, t, **few), found.p_path[0]],
            }
            for wanted, values in results.items():
                assert all(tuple(np.shape(value)) == wanted for value in values)
            assert isinstance(results[(*shape, 1, 4, 4)][0], kind)
            assert np.shape(smoothed.predict(x, n=20)) == shape
    assert np.array_equal(smoothed.gradient(many, target, **few)[0], smoothed.gradient(many[0], 1, **few))
    assert isinstance(smoothed.certify(many[0], n=20), pagoda.Certificate)
    read_only = many.copy()
    read_only.setflags(write=False)
    assert smoothed.predict(read_only, n=20) == smoothed.predict(many, n=20)


def test_seeds_are_numbers_or_tuples_and_decide_the_draws(smoothed):
    x = torch.full((1, 4, 4), 0.4)
    first, again, other = (smoothed.gradient(x, 1, draws=2, seed=seed) for seed in ((1, "a"), (1.0, "a"), 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_certificates_and_ascents_are_those_of_the_steps(model, dataset, tmp_path):
    table = certify.run(
        certify.Config(
            model=model, data=dataset, out=tmp_path / "t.tsv", sigma=0.5, images=359, n0=10, n=40, alpha=0.01
        )
    )
    loaded, images = pagoda.load_model(model), Split(dataset, "test").images(range(5))
    own = Smoothed(loaded, sigma=0.5)
    found = own.certify(images, n0=10, n=40, alpha=0.01, mode="grid", seed=(0, "certify", 0.5))
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:6]]
    assert [(str(c.prediction), str(c.radius), str(c.successes)) for c in found] == [(r[2], r[3], r[6]) for r in rows]
    made = ascend.run(
        ascend.Config(
            model=model, data=dataset, out=tmp_path / "a.npz", target="3", sigma=0.5, epsilon=1.0, images=2, steps=3,
            step=0.5, draws=4, check_draws=4,
        )
    )  # fmt: skip
    again = own.ascend(made.source, 3, epsilon=1.0, steps=3, step=0.5, draws=4, seed=(0, "ascend", 0.5, "3"))
    assert np.array_equal(again.end, made.end) and np.array_equal(again.p_path, made.p_path)


X = torch.full((2, 1, 4, 4), 0.5)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda s: s.predict(X * 255), "pixel values reach from 127.5 to 127.5: they must lie in [0, 1]"),
        (lambda s: s.predict(X * torch.nan), "pixel values reach from nan to nan"),
        (lambda s: s.predict(X.byte()), "images are torch.uint8: floats in [0, 1] are needed (of bytes, x / 255)"),
        (lambda s: s.predict(X[0, 0]), "images are [4, 4]: [C, H, W] or [B, C, H, W] is needed"),
        (lambda s: s.predict(X[:0]), "images are [0, 1, 4, 4]"),
        (lambda s: s.predict(X.to("meta")), "images are on meta, but the network is on cpu"),
        (lambda s: s.predict(X, n=0), "n is 0: must be at least 1"),
        (lambda s: s.predict(X, alpha=1), "alpha is 1: must be above 0 and below 1"),
        (lambda s: s.certify(X, mode="best"), "mode is 'best': choose from fixed, grid, radius"),
        (lambda s: s.certify(X, batch=0), "batch is 0: must be at least 1"),
        (lambda s: s.score(X, 2), "target is 2: classes are 0 to 1"),
        (lambda s: s.score(X, [0, 1, 0]), "target is [0, 1, 0]: a class number is needed, or 2, one an image"),
        (lambda s: s.gradient(X, 0, draws=0), "draws is 0: must be at least 1"),
        (lambda s: s.ascend(X, 0, epsilon=0), "epsilon is 0: must be above 0"),
        (lambda s: s.ascend(X, 0, epsilon=1, steps=0), "steps is 0: must be at least 1"),
        (lambda s: Smoothed(s.network, 0, 2).certify(X), "sigma is 0: a smoothed classifier needs noise"),
        (lambda s: Smoothed(s.network, 0, 2).predict(X), "sigma is 0: a smoothed classifier needs noise"),
        (lambda s: Smoothed(s.network, -1, 2), "sigma is -1: must be 0 (unsmoothed) or above"),
        (lambda s: Smoothed(s.network, 1, 1), "classes is 1: a classifier needs 2 at least"),
        (lambda s: Smoothed(s.network, 1), "classes is missing"),
        (lambda s: Smoothed(s.network, 1, 3).predict(X), "the network returned [250, 2] for 250 images: [250, 3]"),
        (lambda s: Smoothed(s.network, 1, 3).score(X, 0), "the network returned [128, 2] for 128 images: [128, 3]"),
        (lambda s: Smoothed(nn.Flatten(0).eval(), 1, 2).predict(X), "the network returned [4000] for 250 images"),
        (lambda s: Smoothed(lambda x: [x], 1, 2).predict(X), "the network returned list for 250 images"),
        (lambda s: s.network.train() and s.gradient(X, 0), "the network is in train mode"),
        (lambda s: s.network.train() and s.certify(X), "the network is in train mode"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(smoothed, call, said):
    with pytest.raises(BadInput) as refused:
        call(smoothed)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_logits_that_are_not_finite_name_the_image():
    broken = Smoothed(lambda x: x.flatten(1)[:, :2] * torch.nan, 1, 2)
    with pytest.raises(FloatingPointError, match="image 0: .* not finite"):
        broken.predict(X)
    with pytest.raises(FloatingPointError, match="p_t is not finite"):
        broken.ascend(X, 0, epsilon=1, steps=1)


def test_align_measures_gradients_and_changes(network, smoothed):
    means = torch.stack([image_at(network, d) for d in (-1.0, 1.0)]).clamp(0, 1)
    x = image_at(network, -0.2)[None]
    found = pagoda.align(smoothed, x, 1, means, label=0, end=x + torch.eye(4))
    cosines = [torch.cosine_similarity(network.weight.detach(), (m - x[0]).flatten(), dim=0).item() for m in means]
    assert found["contrastive"] == pytest.approx(cosines[1] - cosines[0], abs=1e-5)
    centred = x.flatten() - x.mean()
    assert found["saliency"] == pytest.approx(
        abs(torch.cosine_similarity(network.weight.detach(), centred, dim=0).item()), abs=1e-4
    )
    assert found["split_half"] == pytest.approx(1, abs=1e-5) and found["high_frequency"] == pytest.approx(1)
    with pytest.raises(BadInput, match=r"class means \[1, 1, 4, 4\]: \[B, C, H, W\] and \[2, C, H, W\] are needed"):
        pagoda.align(smoothed, x, 1, means[:1])


def test_montage_writes_a_figure(tmp_path):
    path = tmp_path / "m.png"
    pagoda.montage([X, X.numpy()], path, labels=["a", "b"], columns=["x", "y"], title="T", caption="C")
    with Image.open(path) as picture:
        assert (np.asarray(picture.convert("L")) == 128).sum() >= 4 * 96 * 96
    with pytest.raises(BadInput, match="rows of 2, 1 images, 2 labels and 2 headings do not fit"):
        pagoda.montage([X, X[:1]], path)


def test_a_checkpoint_is_ready_to_be_smoothed(tmp_path):
    from pagoda.nets.architectures import build_seeded

    network = build_seeded(0, {"name": "airbench", "widths": [8, 16]}, 3, 1).eval()
    path, x = tmp_path / "c.pt", torch.rand(4, 1, 8, 8)
    torch.save({"state_dict": {f"1.{name}": value for name, value in network.state_dict().items()}}, path)
    asked = {"format": "locuslab", "architecture": {"name": "airbench", "widths": [8, 16]}, "channels": 1}
    found = pagoda.import_checkpoint(path, **asked, classes=["a", "b", "c"], mean=[0.5], std=[2.0])
    with torch.no_grad():
        torch.testing.assert_close(found(x), network((x - 0.5) / 2), rtol=1e-3, atol=1e-4)
    assert Smoothed(found, 0.5).classes == 3 and not any(p.requires_grad for p in found.parameters())
    with pytest.raises(BadInput, match="does not hold the normalisation"):
        pagoda.import_checkpoint(path, **asked, classes=3)


def test_import_pagoda_imports_no_pytorch_and_knows_its_names():
    code = "import sys, pagoda, pagoda.errors, json; print(json.dumps([sorted(sys.modules), dir(pagoda)]))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules, names = json.loads(done.stdout)
    assert not {"torch", "numpy", "pagoda.smoothed"} & set(modules) and set(pagoda.__all__) <= set(names)
    stub = ast.parse((ROOT / "pagoda" / "__init__.pyi").read_text())
    assert {alias.name for line in stub.body for alias in line.names} == set(pagoda.__all__) >= {"Smoothed", "align"}
    assert all(getattr(pagoda, name) is not None for name in pagoda.__all__)
    with pytest.raises(AttributeError, match="module 'pagoda' has no attribute 'nothing'"):
        _ = pagoda.nothing


def test_gradients_are_the_same_whatever_the_callers_mode_and_a_network_without_one_is_refused():
    torch.manual_seed(0)
    smoothed, x = (
        Smoothed(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval(), 0.5, 3),
        torch.rand(2, 1, 2, 2),
    )
    expected = smoothed.gradient(x, 1, draws=4)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(smoothed.gradient(x, 1, draws=4), expected)
    with pytest.raises(BadInput, match="the network's output has no gradient"):
        Smoothed(lambda images: torch.zeros(len(images), 3), 0.5, 3).gradient(x, 1, draws=4)
