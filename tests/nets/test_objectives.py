import numpy as np
import pytest
import torch
from scipy.stats import entropy

from pagoda.errors import BadInput
from pagoda.maths.ball import norms
from pagoda.maths.randomness import generator
from pagoda.nets.objectives import OBJECTIVES, Objective


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


def perturb(objective, classifier, x, y, source):
    return objective.perturb(classifier, x, y, objective.draw(x, source))


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(1)
    return torch.full((64, 1, 4, 4), 0.5), torch.randint(0, 2, (64,), generator=random)


def test_the_attack_reaches_the_worst_point_of_the_ball_for_a_linear_classifier(batch):
    x, y = batch
    classifier = Linear().train()
    objective = Objective("adversarial", epsilon=0.3, attack_steps=20, attack_step=0.1)
    attacked, labels = perturb(objective, classifier, x, y, generator("cpu", 0))
    assert (labels == y).all()
    difference = (classifier.weight[1 - y] - classifier.weight[y]).view(-1, 1, 4, 4)
    worst = x + 0.3 * difference / difference.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(attacked, worst, atol=0.02, rtol=0)
    assert classifier.training


def test_gaussian_noise_is_in_pixel_space_and_not_clipped(batch):
    x, y = batch
    noisy, _ = perturb(Objective("gaussian", sigma=2.0), Linear(), x, y, generator("cpu", 0))
    assert (noisy - x).std().item() == pytest.approx(2.0, rel=0.1)
    assert noisy.min() < 0 and noisy.max() > 1
    assert perturb(Objective("standard"), Linear(), x, y, generator("cpu", 0))[0] is x


def test_attacks_start_anywhere_in_the_ball(batch):
    x, y = batch
    start, _ = perturb(
        Objective("adversarial", epsilon=0.4, attack_steps=0, attack_step=0.0), Linear(), x, y, generator("cpu", 0)
    )
    lengths = norms(start - x)
    assert lengths.max() <= 0.4 + 1e-6 and lengths.std() > 0.05


def test_smoothadv_climbs_the_loss_of_the_smoothed_classifier(batch):
    """Against a plain loop: one picture at a time, the probabilities averaged before the logarithm."""
    x, y = batch[0][:6], batch[1][:6]
    classifier = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).train()
    objective = Objective("smoothadv", sigma=0.8, epsilon=0.5, attack_steps=3, attack_step=0.3, draws=5)
    noisy, labels = perturb(objective, classifier, x, y, generator("cpu", 0))
    noise = torch.empty(6, 5, 1, 4, 4).normal_(0, 0.8, generator=generator("cpu", 0))
    assert labels.tolist() == [label for label in y.tolist() for _ in range(5)] and classifier.training
    for image, label, draws, made in zip(x, y, noise, noisy.view(6, 5, 1, 4, 4), strict=True):
        at = image.clone()
        for _ in range(3):
            at.requires_grad_(True)
            smoothed = torch.stack([classifier((at + draw).unsqueeze(0)).softmax(1)[0, label] for draw in draws]).mean()
            (slope,) = torch.autograd.grad(-smoothed.log(), at)
            moved = at.detach() + 0.3 * slope / slope.norm() - image
            at = (image + moved * min(1, 0.5 / moved.norm().item())).clamp(0, 1)
        torch.testing.assert_close(made, at + draws, atol=1e-5, rtol=1e-4)


def test_warm_up_grows_the_attack_to_the_whole():
    objective = Objective("smoothadv", sigma=0.5, epsilon=2, attack_step=1, draws=2, warmup=4)
    grown = [objective.in_epoch(epoch) for epoch in range(6)]
    assert [o.epsilon for o in grown] == [0.5, 1, 1.5, 2, 2, 2] and grown[1].attack_step == 0.5
    assert Objective("smoothadv", epsilon=2, warmup=0).in_epoch(0).epsilon == 2


def test_unknown_objectives_are_refused():
    with pytest.raises(BadInput, match="'trades' is unknown: choose from standard, gaussian, adversarial"):
        Objective("trades")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_rows_of_a_batch_are_perturbed_alike_wherever_they_are(name):
    objective = Objective(name, sigma=0.5, epsilon=0.5, attack_steps=2, attack_step=0.3, draws=2)
    random = torch.Generator().manual_seed(1)
    # Three channels, in the memory format of networks, which draws follow.
    x = torch.rand(7, 3, 4, 4, generator=random).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 2, (7,), generator=random)
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    whole, _ = perturb(objective, classifier, x, y, generator("cpu", 0))
    for rows in (slice(0, None, 2), slice(1, None, 2), slice(6, None)):
        own = x[rows].contiguous(memory_format=torch.channels_last)
        drawn = [part[rows] for part in objective.draw(own, generator("cpu", 0), count=7)]
        seen, _ = objective.perturb(classifier, own, y[rows], drawn)
        expected = whole.unflatten(0, (7, -1))[rows].flatten(0, 1)
        torch.testing.assert_close(seen, expected, atol=1e-6, rtol=1e-5)
    none = objective.draw(x[:0], generator("cpu", 0), count=7)
    assert [len(part) for part in none] == [7] * len(none)


def test_consistency_is_cross_entropy_and_the_divergence_of_draws_from_their_mean(batch):
    """Against a plain loop over pictures and draws, with SciPy's entropies."""
    x, y = batch[0][:5], batch[1][:5]
    objective = Objective("consistency", sigma=1.0, draws=3, agreement=10, entropy=0.5)
    seen, labels = perturb(objective, Linear(), x, y, generator("cpu", 0))
    assert seen.shape == (15, 1, 4, 4) and labels.tolist() == [label for label in y.tolist() for _ in range(3)]
    logits = Linear()(seen)
    p = logits.softmax(dim=1).view(5, 3, 2).numpy()
    losses = [
        np.mean([-np.log(draw[label]) for draw in draws])
        + 10 * np.mean([entropy(draws.mean(axis=0), draw) for draw in draws])
        + 0.5 * entropy(draws.mean(axis=0))
        for draws, label in zip(p, y.tolist(), strict=True)
    ]
    assert objective.loss(logits, labels).item() == pytest.approx(np.mean(losses), rel=1e-5)
