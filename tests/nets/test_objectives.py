import pytest
import torch

from steps.maths.ball import norms
from steps.maths.randomness import generator
from steps.nets.objectives import Objective, perturb
from steps.run.errors import BadInput


class Linear(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("weight", torch.randn(2, 16, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        return x.flatten(1) @ self.weight.T


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(1)
    return torch.full((64, 1, 4, 4), 0.5), torch.randint(0, 2, (64,), generator=random)


def test_the_attack_reaches_the_worst_point_of_the_ball_for_a_linear_classifier(batch):
    x, y = batch
    classifier = Linear().train()
    objective = Objective("adversarial", epsilon=0.3, attack_steps=20, attack_step=0.1)
    attacked = perturb(objective, classifier, x, y, generator("cpu", 0))
    difference = (classifier.weight[1 - y] - classifier.weight[y]).view(-1, 1, 4, 4)
    worst = x + 0.3 * difference / difference.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(attacked, worst, atol=0.02, rtol=0)
    assert classifier.training


def test_gaussian_noise_is_in_pixel_space_and_not_clipped(batch):
    x, y = batch
    noisy = perturb(Objective("gaussian", sigma=2.0), Linear(), x, y, generator("cpu", 0))
    assert (noisy - x).std().item() == pytest.approx(2.0, rel=0.1)
    assert noisy.min() < 0 and noisy.max() > 1
    assert perturb(Objective("standard"), Linear(), x, y, generator("cpu", 0)) is x


def test_attacks_start_anywhere_in_the_ball(batch):
    x, y = batch
    start = perturb(Objective("adversarial", epsilon=0.4), Linear(), x, y, generator("cpu", 0))
    lengths = norms(start - x)
    assert lengths.max() <= 0.4 + 1e-6 and lengths.std() > 0.05


def test_unknown_objectives_are_refused(batch):
    with pytest.raises(BadInput, match="'trades' is unknown: choose from standard, gaussian, adversarial"):
        perturb(Objective("trades"), Linear(), *batch, generator("cpu", 0))
