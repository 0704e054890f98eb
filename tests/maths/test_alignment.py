import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pagoda.data.registry import COLUMNS, JUDGES, MEASURES
from pagoda.maths.alignment import (
    FORMULAS,
    contrastive_cosine,
    high_frequency_fraction,
    radial_spectrum,
    saliency_cosine,
)
from pagoda.maths.ascent import log_score_and_gradient
from pagoda.maths.noise import Noise


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_gradient_that_is_the_class_mean_difference_is_as_contrastive_as_can_be():
    """A linear classifier of two classes: its gradient is the difference of its weights, here of the class means."""
    means = torch.rand(2, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    x = means.mean(dim=0, keepdim=True).expand(2, -1, -1, -1)  # midway: one class lies opposite the other
    target = torch.tensor([0, 1])
    smoothing = Noise(0.3, 8, 16, (0,))
    _, gradient = log_score_and_gradient(lambda v: v.flatten(1) @ means.flatten(1).T, x, target, smoothing)
    assert torch.allclose(contrastive_cosine(gradient, x, means, target), torch.tensor(2.0), atol=1e-4)
    assert torch.allclose(contrastive_cosine(-gradient, x, means, target), torch.tensor(-2.0), atol=1e-4)


def test_the_contrastive_cosine_against_a_plain_loop():
    gradient, x, means = noise(3, 2, 4, 4), noise(3, 2, 4, 4, seed=1), noise(5, 2, 4, 4, seed=2)
    target = torch.tensor([4, 0, 2])
    for found, g, picture, t in zip(contrastive_cosine(gradient, x, means, target), gradient, x, target, strict=True):
        cosines = [F.cosine_similarity(g.flatten(), (mean - picture).flatten(), dim=0) for mean in means]
        others = [cosine for c, cosine in enumerate(cosines) if c != t]
        assert found.item() == pytest.approx((cosines[t] - sum(others) / 4).item(), abs=1e-5)
    assert abs(contrastive_cosine(noise(500, 1, 8, 8), noise(500, 1, 8, 8, seed=1), noise(4, 1, 8, 8, seed=2),
                                  torch.zeros(500, dtype=torch.int64)).mean()) < 0.02  # fmt: skip


def test_an_image_equal_to_a_class_mean_names_no_direction_there():
    means, gradient = noise(3, 1, 4, 4), noise(2, 1, 4, 4, seed=1)
    x = means[[0, 0]]
    found = contrastive_cosine(gradient, x, means, torch.tensor([0, 1]))
    cosines = [F.cosine_similarity(gradient[1].flatten(), (means[c] - x[1]).flatten(), dim=0) for c in (1, 2)]
    assert found[0].isnan() and found[1].item() == pytest.approx((cosines[0] - cosines[1]).item(), abs=1e-5)


def test_white_noise_has_the_high_frequency_fraction_of_the_square_without_its_circle():
    found = high_frequency_fraction(noise(200, 3, 64, 64))
    assert found.mean().item() == pytest.approx(1 - np.pi / 16, abs=0.003)


def test_every_measure_has_a_formula_or_a_judge_and_a_name_of_its_own():
    assert {measure.column for measure in MEASURES if not measure.judge} == set(FORMULAS)
    assert {measure.judge for measure in MEASURES if measure.judge} == {judge.name for judge in JUDGES}
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_a_blur_has_no_high_frequencies_and_a_checkerboard_has_nothing_else():
    blurred = F.avg_pool2d(noise(50, 1, 39, 39), 8, stride=1)
    assert high_frequency_fraction(blurred).mean() < 0.15
    board = (torch.arange(16).view(-1, 1) + torch.arange(16)).remainder(2).float().view(1, 1, 16, 16)
    assert high_frequency_fraction(board).item() == pytest.approx(1)
    wave = torch.sin(2 * np.pi * 2 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    assert high_frequency_fraction(wave).item() == pytest.approx(0, abs=1e-6)
    assert high_frequency_fraction(torch.zeros(1, 1, 8, 8)).isnan().all()


def test_the_saliency_cosine_is_one_along_the_centred_image_and_leaves_brightness_out():
    x = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    centred = x - x.mean(dim=(2, 3), keepdim=True)
    assert torch.allclose(saliency_cosine(-2 * centred, x), torch.ones(4), atol=1e-5)
    assert saliency_cosine(torch.ones_like(x), x).max() < 1e-5
    assert saliency_cosine(noise(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.7)).isnan().all()


def test_the_spectrum_of_white_noise_is_flat_and_that_of_a_wave_is_one_ring():
    frequency, power = radial_spectrum(noise(400, 3, 16, 16))
    assert frequency.tolist() == [k / 16 for k in range(1, 9)]
    assert torch.allclose(power.mean(dim=0), torch.ones(8, dtype=torch.float64), atol=0.05)
    wave = torch.sin(2 * np.pi * 3 * torch.arange(16) / 16).expand(1, 1, 16, 16)
    assert radial_spectrum(wave)[1][0].argmax() == 2 and radial_spectrum(wave)[1][0, 4:].max() < 1e-6


def test_a_gradient_of_length_0_has_no_direction():
    x, means = noise(2, 1, 4, 4), noise(3, 1, 4, 4, seed=1)
    zero = torch.zeros_like(x)
    assert contrastive_cosine(zero, x, means, torch.tensor([0, 1])).isnan().all()
    assert saliency_cosine(zero, x).isnan().all()
