import math

import numpy as np
import pytest
import torch
from scipy import stats

from steps.maths.smoothing import (
    ABSTAIN,
    CHUNK,
    certified_radius,
    certify,
    count_classes,
    log_soft_score,
    noise_chunks,
)

SHAPE = (1, 4, 4)


def three_classes(x):
    """A classifier with curved borders: three quadratic scores."""
    flat = x.flatten(1)
    return torch.stack([flat.sum(dim=1), flat.square().sum(dim=1), 3 * flat[:, 0]], dim=1)


@pytest.fixture
def linear():
    """A two-class linear classifier with weights w: its smoothed class and radius have closed forms."""
    weight = torch.randn(16, generator=torch.Generator().manual_seed(3))
    return weight, lambda x: torch.stack([-(x.flatten(1) @ weight), x.flatten(1) @ weight], dim=1)


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_certify_is_a_plain_loop_over_the_same_draws(sigma):
    n0, n, alpha = 30, CHUNK + 70, 0.01
    for number in range(6):
        image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(number))
        key = (0, number)
        found = certify(three_classes, image, sigma=sigma, n0=n0, n=n, alpha=alpha, classes=3, batch=64, key=key)
        votes = {}
        for phase, draws in (("select", n0), ("estimate", n)):
            noise = np.concatenate([c.numpy() for c in noise_chunks(SHAPE, draws, sigma, "cpu", (*key, phase))])
            one_by_one = [int(three_classes(image[None] + torch.from_numpy(e)[None]).argmax()) for e in noise]
            votes[phase] = np.bincount(one_by_one, minlength=3)
        top = votes["select"].argmax()
        hits = votes["estimate"][top]
        lower = stats.beta.ppf(alpha, hits, n - hits + 1) if hits else 0.0
        assert (found.successes, found.draws) == (hits, n)
        assert found.lower == pytest.approx(lower, rel=1e-9)
        if lower > 0.5:
            assert found.prediction == top
            assert found.radius == pytest.approx(sigma * stats.norm.ppf(lower), rel=1e-9)
        else:
            assert (found.prediction, found.radius) == (ABSTAIN, 0.0)


def test_no_certificate_exceeds_the_true_radius(linear):
    weight, classifier = linear
    random = torch.Generator().manual_seed(4)
    alpha, wrong, trials = 0.05, 0, 300
    for number in range(trials):
        image = torch.rand(SHAPE, generator=random) - 0.5
        margin = float(image.flatten() @ weight)
        found = certify(classifier, image, sigma=0.5, n0=20, n=200, alpha=alpha, classes=2, batch=500, key=(0, number))
        true = abs(margin) / float(weight.norm())
        certified_wrongly = found.prediction != int(margin > 0) or found.radius > true
        wrong += found.prediction != ABSTAIN and certified_wrongly
    # 15 are expected at most; 3 standard deviations above that would be a defect. (The bound itself is checked exactly
    # in test_confidence: this is the way from draws to radius.)
    assert wrong <= trials * alpha + 3 * math.sqrt(trials * alpha * (1 - alpha))


def test_the_radius_converges_to_the_true_one(linear):
    weight, classifier = linear
    image = 0.3 * weight.view(SHAPE) / weight.norm()
    shared = {"sigma": 0.5, "n0": 50, "alpha": 0.001, "classes": 2, "batch": 1000, "key": (1,)}
    radii = [certify(classifier, image, n=n, **shared).radius for n in (200, 2_000, 50_000)]
    assert radii == sorted(radii)
    assert 0.28 < radii[-1] <= 0.3


def test_selection_and_estimation_use_different_draws():
    select, estimate = (next(noise_chunks(SHAPE, 5, 1.0, "cpu", (0, phase))) for phase in ("select", "estimate"))
    assert not torch.equal(select, estimate)


@pytest.mark.parametrize("batch", [1, 7, CHUNK, 10_000])
def test_batch_size_and_number_of_draws_change_no_draw(batch):
    image = torch.full(SHAPE, 0.5)
    shared = {"sigma": 0.7, "classes": 3, "key": (5,)}
    whole = count_classes(three_classes, image, draws=CHUNK + 20, batch=64, **shared)
    assert torch.equal(count_classes(three_classes, image, draws=CHUNK + 20, batch=batch, **shared), whole)
    short, long = (torch.cat(list(noise_chunks(SHAPE, n, 1.0, "cpu", (6,)))) for n in (CHUNK + 3, 3 * CHUNK))
    assert torch.equal(short, long[: len(short)])


def test_noise_has_the_standard_deviation_asked_for():
    noise = torch.cat(list(noise_chunks((3, 16, 16), 4 * CHUNK, 0.25, "cpu", (7,))))
    assert noise.std().item() == pytest.approx(0.25, rel=0.01)
    assert abs(noise.mean().item()) < 0.25 * 5 / math.sqrt(noise.numel())


def test_radii_round_down():
    assert certified_radius(0.9, 0.5) < 0.5 * stats.norm.ppf(0.9)
    assert certified_radius(0.9, 0.5) == pytest.approx(0.5 * stats.norm.ppf(0.9), rel=1e-12)


def test_logits_that_are_not_finite_are_no_vote():
    with pytest.raises(FloatingPointError, match="not finite"):
        count_classes(
            lambda x: torch.full((len(x), 3), float("nan")),
            *(torch.zeros(SHAPE),),
            sigma=1.0, draws=10, classes=3, batch=10, key=(0,),
        )  # fmt: skip


def test_log_soft_score_is_the_logarithm_of_the_mean_probability():
    noisy = torch.randn(2, 9, *SHAPE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    score = log_soft_score(three_classes, noisy, torch.tensor([0, 2]))
    for image, target in ((0, 0), (1, 2)):
        mean = np.mean([float(three_classes(x[None])[0].softmax(0)[target]) for x in noisy[image]])
        assert float(score[image]) == pytest.approx(math.log(mean), rel=1e-5)
