import numpy as np
import pytest
import torch

from pagoda.data.ascents import read_ascent
from pagoda.data.dataset import Split
from pagoda.errors import BadInput
from pagoda.maths.randomness import generator
from pagoda.nets.model import load_model
from pagoda.smoothed import Smoothed
from steps import ascend
from tests.conftest import changed


@pytest.fixture
def asked(model, dataset, tmp_path):
    return ascend.Config(
        model=model, data=dataset, out=tmp_path / "class=3.npz", target="3", sigma=0.25, epsilon=1.5,
        images=5, steps=6, step=0.25, draws=8, check_draws=64, frames=4,
    )  # fmt: skip


def test_the_file_holds_what_was_done(asked, dataset):
    ascend.run(asked)
    found = read_ascent(asked.out)
    test = Split(dataset, "test")
    others = [i for i, label in enumerate(test.labels.tolist()) if label != 3][:5]
    assert found.index.tolist() == others and (found.label != 3).all()
    assert np.allclose(found.source, test.images(others).numpy())
    change = (found.end - found.source).reshape(5, -1)
    assert np.allclose(np.linalg.norm(change, axis=1), found.norm, atol=1e-5)
    assert found.norm.max() <= 1.5 + 1e-4 and found.end.min() >= 0 and found.end.max() <= 1
    assert found.frame_steps.tolist() == [0, 2, 4, 6] and found.p_path.shape == (6, 5)
    assert np.abs(found.frames[-1] / 255 - found.end).max() <= 0.5 / 255 + 1e-6
    assert (found.settings.step, found.settings.view.label) == (0.375, "gaussian-0.5, smoothed with σ = 0.25")
    assert found.rms == pytest.approx(1.5 / 8)


def test_p_after_is_estimated_from_draws_that_the_ascent_did_not_use(asked):
    found = ascend.run(asked)
    loaded = load_model(asked.model, torch.device("cpu"))
    independent = Smoothed(loaded, 0.25).score(found.end, 3, draws=4000, batch=500, seed=("another",))
    assert np.allclose(found.p_after, independent, atol=0.05)
    assert (found.p_after > found.p_before).mean() > 0.5


def test_the_same_config_gives_the_same_file_whatever_the_batch(asked, tmp_path):
    ascend.run(asked)
    first = asked.out.read_bytes()
    ascend.run(asked)
    assert asked.out.read_bytes() == first
    small = ascend.run(changed(asked, batch=3))
    assert np.allclose(small.end, read_ascent(asked.out).end, atol=1e-4)


def test_seeds_and_noise_take_the_place_of_images(asked, dataset):
    seeds = ascend.run(changed(asked, start="seeds", images=200, steps=1))
    train = Split(dataset, "train")
    mean = train.images(torch.nonzero(train.labels == 3).flatten()).mean(dim=0).numpy()
    others = train.images(torch.nonzero(train.labels == 8).flatten()).mean(dim=0).numpy()
    found = seeds.source.mean(axis=0)
    assert np.abs(found - mean).mean() < 0.3 * np.abs(found - others).mean()
    assert (seeds.label == 3).all() and seeds.settings.view.label.endswith(", from seeds")
    noise = ascend.run(changed(asked, start="noise"))
    assert abs(noise.source.mean() - 0.5) < 0.05 and (noise.label == -1).all()
    again = ascend.run(changed(asked, start="noise", images=2))
    assert again.source.shape == (2, 1, 8, 8)


def test_split_half_says_whether_there_are_enough_draws(asked):
    few, many = (ascend.run(changed(asked, draws=n, steps=1)) for n in (1, 256))
    assert few.split_half.mean() < many.split_half.mean() - 0.03 and many.split_half.min() > 0.8
    assert np.allclose(ascend.run(changed(asked, sigma=0.0, steps=1)).split_half, 1)


@pytest.mark.parametrize("n", [1, 3])
def test_the_gradient_is_that_of_the_mean_over_draws_at_each_frame(asked, n):
    found = ascend.run(changed(asked, draws=n, images=2, steps=1, seed=5))
    network = load_model(asked.model, torch.device("cpu")).classifier
    for step, (picture, kept) in enumerate(zip((found.source, found.end), found.gradients, strict=True)):
        x = torch.tensor(picture[:1]).requires_grad_(True)
        drawn = torch.empty(16, *x.shape[1:]).normal_(
            0, 0.25, generator=generator("cpu", 5, "ascend", 0.25, "3", step, 0)
        )
        network(x + drawn[:n]).softmax(dim=1)[:, 3].mean().log().backward()
        expected = 32 * x.grad / x.grad.square().mean().sqrt()
        assert np.abs(kept[0] - expected[0].clamp(-127, 127).numpy()).max() < 0.6


def test_unsmoothed_is_the_base_classifier(asked):
    found = ascend.run(changed(asked, sigma=0.0))
    base = load_model(asked.model, torch.device("cpu")).classifier
    expected = base(torch.from_numpy(found.end)).softmax(dim=1)[:, 3]
    assert np.allclose(found.p_after, expected, atol=1e-5)
    assert (found.settings.view.label, found.settings.draws) == ("gaussian-0.5, unsmoothed", 1)


def test_an_unknown_class_is_refused(asked):
    with pytest.raises(BadInput, match="class 'x' is unknown: .* has 0, 1, 2"):
        ascend.run(changed(asked, target="x"))


def test_a_truncated_ascent_is_named(asked):
    ascend.run(asked)
    asked.out.write_bytes(asked.out.read_bytes()[:500])
    with pytest.raises(BadInput, match="class=3.npz is truncated"):
        read_ascent(asked.out)
