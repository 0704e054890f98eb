import math

import numpy as np
import pytest
import torch
from scipy import stats

from pagoda.maths.certification import ABSTAIN, Count, Rule
from pagoda.maths.noise import CHUNK, noise_chunk
from pagoda.maths.smoothing import Work, count_votes
from pagoda.maths.soft import log_soft_score

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


def certify(classifier, image, rule, *, classes, batch, key):
    """The certificate of one image."""
    (work,) = count_votes(classifier, [Work(image, key, Count(rule, classes))], sigma=rule.sigma, batch=batch)
    return work.count.certificate


def noise(draws, sigma, key):
    """The first `draws` draws that `key` names."""
    chunks = [noise_chunk(SHAPE, sigma, "cpu", (*key, k)) for k in range(-(-draws // CHUNK))]
    return torch.cat(chunks)[:draws]


@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_certify_is_a_plain_loop_over_the_same_draws(sigma):
    n0, n, alpha = 30, CHUNK + 70, 0.01
    for number in range(6):
        image = torch.rand(SHAPE, generator=torch.Generator().manual_seed(number))
        key = (0, number)
        rule = Rule("fixed", sigma=sigma, n0=n0, n=n, alpha=alpha)
        found = certify(three_classes, image, rule, classes=3, batch=64, key=key)
        votes = {}
        for phase, draws in (("select", n0), ("estimate", n)):
            drawn = noise(draws, sigma, (*key, phase))
            votes[phase] = np.bincount([int(three_classes(image[None] + e[None]).argmax()) for e in drawn], minlength=3)
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


@pytest.mark.parametrize("mode", ["fixed", "grid", "radius"])
def test_no_certificate_exceeds_the_true_radius(linear, mode):
    weight, classifier = linear
    random = torch.Generator().manual_seed(4)
    alpha, wrong, trials = 0.05, 0, 300
    rule = Rule(mode, sigma=0.5, n0=20, n=500, alpha=alpha)
    images = [torch.rand(SHAPE, generator=random) - 0.5 for _ in range(trials)]
    works = [Work(image, (0, k), Count(rule, 2)) for k, image in enumerate(images)]
    for work in count_votes(classifier, works, sigma=0.5, batch=500):
        margin, found = float(work.image.flatten() @ weight), work.count.certificate
        certified_wrongly = found.prediction != int(margin > 0) or found.radius > abs(margin) / float(weight.norm())
        wrong += found.prediction != ABSTAIN and certified_wrongly
    # 15 are expected at most; 3 standard deviations above that would be a defect. (The bounds themselves are checked
    # in test_confidence and test_certification: this is the way from draws to radius.)
    assert wrong <= trials * alpha + 3 * math.sqrt(trials * alpha * (1 - alpha))


def test_the_radius_converges_to_the_true_one(linear):
    weight, classifier = linear
    image = 0.3 * weight.view(SHAPE) / weight.norm()
    rules = [Rule("fixed", sigma=0.5, n0=50, n=n, alpha=0.001) for n in (200, 2_000, 50_000)]
    radii = [certify(classifier, image, rule, classes=2, batch=1000, key=(1,)).radius for rule in rules]
    assert radii == sorted(radii)
    assert 0.28 < radii[-1] <= 0.3


def test_selection_and_estimation_use_different_draws():
    select, estimate = (noise_chunk(SHAPE, 1.0, "cpu", (0, phase, 0)) for phase in ("select", "estimate"))
    assert not torch.equal(select, estimate)


@pytest.mark.parametrize("batch", [1, 7, CHUNK, 130, 10_000])
@pytest.mark.parametrize("mode", ["fixed", "grid"])
def test_neither_batches_nor_company_change_a_count(batch, mode):
    rule = Rule(mode, sigma=0.7, n0=30, n=450, alpha=0.01, looks=(150, 250, 450) if mode == "grid" else ())
    images = [torch.rand(SHAPE, generator=torch.Generator().manual_seed(k)) for k in range(5)]
    alone = [certify(three_classes, image, rule, classes=3, batch=64, key=(5, k)) for k, image in enumerate(images)]
    works = (Work(image, (5, k), Count(rule, 3)) for k, image in enumerate(images))
    together = count_votes(three_classes, works, sigma=0.7, batch=batch)
    assert [work.count.certificate for work in together] == alone  # in the order given, whichever ends first


def test_batches_are_full_and_no_larger_than_asked_for():
    sizes = []

    def classifier(x):
        sizes.append(len(x))
        return three_classes(x)

    rule = Rule("grid", sigma=0.7, n0=100, n=2000, alpha=0.01)
    works = [Work(torch.rand(SHAPE), (k,), Count(rule, 3), k) for k in range(20)]
    assert len(list(count_votes(classifier, works, sigma=0.7, batch=300))) == 20
    assert max(sizes) <= 300 and np.mean(sizes) > 270


def test_noise_has_the_standard_deviation_asked_for():
    drawn = torch.cat([noise_chunk((3, 16, 16), 0.25, "cpu", (7, k)) for k in range(10)])
    assert drawn.std().item() == pytest.approx(0.25, rel=0.01)
    assert abs(drawn.mean().item()) < 0.25 * 5 / math.sqrt(drawn.numel())


def test_counting_takes_images_as_there_is_room_and_builds_no_graph():
    weight, taken = torch.randn(16, 3, generator=torch.Generator().manual_seed(1), requires_grad=True), []

    def classifier(x):
        logits = x.flatten(1) @ weight
        assert not logits.requires_grad
        return logits

    def works():
        for k in range(10):
            taken.append(k)
            yield Work(torch.rand(SHAPE), (k,), Count(Rule("fixed", sigma=1.0, n0=10, n=100, alpha=0.01), 3))

    next(count_votes(classifier, works(), sigma=1.0, batch=10))
    assert len(taken) <= 2 and torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_logits_that_are_not_finite_are_no_vote_and_name_the_image():
    rule = Rule("fixed", sigma=1.0, n0=10, n=10, alpha=0.01)

    def classifier(x):  # the second image's
        return three_classes(x).masked_fill((x.mean(dim=(1, 2, 3)) > 50)[:, None], float("nan"))

    works = [Work(torch.full(SHAPE, 100.0 * k), (k,), Count(rule, 3), f"image {k}") for k in range(2)]
    with pytest.raises(FloatingPointError, match="image 1: the base classifier's logits are not finite"):
        list(count_votes(classifier, works, sigma=1.0, batch=100))


def test_log_soft_score_is_the_logarithm_of_the_mean_probability():
    noisy = torch.randn(2, 9, *SHAPE, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    score = log_soft_score(three_classes, noisy, torch.tensor([0, 2]))
    for image, target in ((0, 0), (1, 2)):
        mean = np.mean([float(three_classes(x[None])[0].softmax(0)[target]) for x in noisy[image]])
        assert float(score[image]) == pytest.approx(math.log(mean), rel=1e-5)
