import math
from dataclasses import replace

import pytest
import torch
from scipy import integrate, stats

from pagoda.maths.ascent import ascend, frame_steps, log_score, log_score_and_gradient
from pagoda.maths.ball import norms
from pagoda.maths.noise import Noise

SHAPE = (1, 4, 4)
WEIGHT = torch.randn(16, generator=torch.Generator().manual_seed(0)) * 0.7


def linear(x):
    return torch.stack([torch.zeros(len(x)), x.flatten(1) @ WEIGHT], dim=1)


def test_smoothed_gradient_of_a_linear_softmax_agrees_with_quadrature():
    sigma, x = 0.8, torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    u, spread = float(x.flatten() @ WEIGHT), sigma * float(WEIGHT.norm())

    def logistic(z):
        return 1 / (1 + math.exp(-(u + spread * z)))

    p, _ = integrate.quad(lambda z: logistic(z) * stats.norm.pdf(z), -8, 8)
    slope, _ = integrate.quad(lambda z: logistic(z) * (1 - logistic(z)) * stats.norm.pdf(z), -8, 8)
    score, gradient = log_score_and_gradient(linear, x, torch.tensor([1]), Noise(sigma, 40_000, 5_000, (0,)))
    assert math.exp(float(score)) == pytest.approx(p, rel=0.01)
    torch.testing.assert_close(gradient.flatten(), WEIGHT * slope / p, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("batch", [1, 6, 1000])
def test_batch_changes_neither_the_score_nor_the_gradient(batch):
    x = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(2))
    target, noise = torch.tensor([0, 1, 1]), Noise(2.0, 11, batch, (3,))
    whole = log_score_and_gradient(linear, x, target, replace(noise, batch=33))
    torch.testing.assert_close(log_score_and_gradient(linear, x, target, noise), whole)
    torch.testing.assert_close(log_score(linear, x, target, noise), whole[0])


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_no_more_noisy_images_are_taken_at_once_than_asked_for(sigma):
    sizes = []

    def recording(x):
        sizes.append(len(x))
        return linear(x)

    x = torch.rand(30, *SHAPE, generator=torch.Generator().manual_seed(2))
    target, noise = torch.arange(30) % 2, Noise(sigma, 11, 16, (3,))
    whole = log_score_and_gradient(linear, x, target, replace(noise, batch=1000))
    torch.testing.assert_close(log_score_and_gradient(recording, x, target, noise), whole)
    torch.testing.assert_close(log_score(recording, x, target, noise), whole[0])
    assert max(sizes) <= 16


def test_ascent_on_a_linear_model_ends_at_its_closed_form_optimum():
    source = torch.full((2, *SHAPE), 0.5)
    for sigma in (0.0, 0.5):
        noise = Noise(sigma, 4, 64, (0,))
        found = ascend(linear, source, torch.tensor([1, 0]), noise, epsilon=0.4, step=0.1, steps=8)
        direction = WEIGHT.view(SHAPE) / WEIGHT.norm()
        torch.testing.assert_close(found.end, source + 0.4 * torch.stack([direction, -direction]))
        assert sigma or (found.p_path[-1] > found.p_path[0]).all()  # with noise, the estimates scatter


def test_ascent_stays_in_the_ball_and_the_box_and_keeps_frames():
    source = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(5))
    seen, target, noise = [], torch.tensor([1, 1, 0]), Noise(0.3, 4, 8, (1,))
    found = ascend(linear, source, target, noise, epsilon=1.2, step=0.5, steps=5, frames=6, watch=seen.append)
    assert seen == [1, 2, 3, 4, 5] and found.frame_steps == [0, 1, 2, 3, 4, 5]
    for x in found.frames / 255:
        assert (norms(x - source) <= 1.2 + 4 * 0.5 / 255).all()  # rounded to 8 bits: 16 pixels, half a level each
    assert (norms(found.end - source) <= 1.2 + 1e-5).all() and found.end.min() >= 0 and found.end.max() <= 1
    assert frame_steps(6, 4) == [0, 2, 4, 6] and frame_steps(2, 9) == [0, 1, 2] and frame_steps(5, 1) == [0, 5]


def test_noise_is_fresh_at_every_step():
    source = torch.full((1, *SHAPE), 0.5)
    inputs = []

    def recording(x):
        inputs.append(x.detach().clone())
        return linear(x)

    ascend(recording, source, torch.tensor([1]), Noise(1.0, 3, 8, (2,)), epsilon=1e-9, step=1e-9, steps=2)
    assert not torch.allclose(inputs[0], inputs[1], atol=1e-3)


def test_the_gradient_keeps_its_direction_where_the_score_is_next_to_one():
    """Against float64: in float32, log_softmax makes 1 - p_t a rounding error there."""
    weights = torch.randn(3, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.linalg.lstsq(weights, torch.tensor([25.0, 1.0, 0.0]).double()).solution.view(1, 1, 3, 4)
    (exact,) = torch.autograd.grad((weights @ (at := x.clone().requires_grad_(True)).flatten()).log_softmax(0)[0], at)
    _, found = log_score_and_gradient(
        lambda v: v.flatten(1) @ weights.float().T, x.float(), torch.tensor([0]), Noise(0, 1, 1, (0,))
    )
    torch.testing.assert_close(1e10 * found.double(), 1e10 * exact, rtol=1e-4, atol=1e-6)


def test_an_image_has_the_same_noise_whatever_stands_beside_it():
    x = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    many, few = (
        torch.cat(list(Noise(0.5, draws, batch, (0,)).copies(x[:n])), dim=1)
        for n, draws, batch in ((5, 40, 7), (2, 23, 1000))
    )
    assert many.shape[1] == 40 and few.shape[1] == 23
    assert torch.equal(many[:2, :23], few)


def test_a_logit_is_ascended_along_its_weights_and_untargeted_leads_away():
    weights = torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    source, own = torch.full((2, 1, 3, 4), 0.5), torch.tensor([2, 0])
    at = source, own, Noise(0.3, 8, 5, (0,))
    reach = {"epsilon": 0.4, "step": 0.1, "steps": 8}
    found = ascend(lambda v: v.flatten(1) @ weights.T, *at, **reach, score="logit")
    expected = source + 0.4 * torch.nn.functional.normalize(weights[own]).view(2, 1, 3, 4)
    torch.testing.assert_close(found.end, expected, atol=1e-4, rtol=0)
    away, towards = (ascend(lambda v: v.flatten(1) @ weights.T, *at, **reach, score=s) for s in ("untargeted", "log-p"))
    assert (away.p_path[-1] < away.p_path[0]).all() and (towards.p_path[-1] > towards.p_path[0]).all()
