import numpy as np
import pytest
import torch
from scipy.stats import entropy

from pagoda.errors import BadInput
from pagoda.maths.ball import norms
from pagoda.maths.randomness import generator
from pagoda.nets.objectives import OBJECTIVES, make


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
    objective = make("adversarial", epsilon=0.3, attack_steps=20, attack_step=0.1)
    attacked, labels = perturb(objective, classifier, x, y, generator("cpu", 0))
    assert (labels == y).all()
    difference = (classifier.weight[1 - y] - classifier.weight[y]).view(-1, 1, 4, 4)
    worst = x + 0.3 * difference / difference.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    torch.testing.assert_close(attacked, worst, atol=0.02, rtol=0)
    assert classifier.training


def test_gaussian_noise_is_in_pixel_space_and_not_clipped(batch):
    x, y = batch
    noisy, _ = perturb(make("gaussian", sigma=2.0), Linear(), x, y, generator("cpu", 0))
    assert (noisy - x).std().item() == pytest.approx(2.0, rel=0.1)
    assert noisy.min() < 0 and noisy.max() > 1
    assert perturb(make("standard"), Linear(), x, y, generator("cpu", 0))[0] is x


def test_attacks_start_anywhere_in_the_ball(batch):
    x, y = batch
    start, _ = perturb(
        make("adversarial", epsilon=0.4, attack_steps=0, attack_step=0.0), Linear(), x, y, generator("cpu", 0)
    )
    lengths = norms(start - x)
    assert lengths.max() <= 0.4 + 1e-6 and lengths.std() > 0.05


def test_smoothadv_climbs_the_loss_of_the_smoothed_classifier(batch):
    """Against a plain loop: one picture at a time, the probabilities averaged before the logarithm."""
    x, y = batch[0][:6], batch[1][:6]
    classifier = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).train()
    objective = make("smoothadv", sigma=0.8, epsilon=0.5, attack_steps=3, attack_step=0.3, draws=5)
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
    objective = make("smoothadv", sigma=0.5, epsilon=2, attack_step=1, draws=2, warmup=4)
    grown = [objective.in_epoch(epoch) for epoch in range(6)]
    assert [o.epsilon for o in grown] == [0.5, 1, 1.5, 2, 2, 2] and grown[1].attack_step == 0.5
    assert make("smoothadv", epsilon=2, warmup=0).in_epoch(0).epsilon == 2


def test_unknown_objectives_are_refused():
    with pytest.raises(BadInput, match="'trades' is unknown: choose from standard, gaussian, adversarial"):
        make("trades")


VALUES = {"sigma": 0.5, "epsilon": 0.5, "attack_steps": 2, "attack_step": 0.3, "agreement": 10, "entropy": 0.5}
VALUES |= {"mixing": 5, "alignment": 15, "targets": 2, "penalty": 0.1}
SEVERAL = ("smoothadv", "consistency", "smoothmix")


def objective(name: str):
    made = make(name, **VALUES | ({"draws": 2} if name in SEVERAL else {}))
    made.means = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(2))
    return made


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_rows_of_a_batch_are_perturbed_alike_wherever_they_are_and_losses_add_up(name):
    random = torch.Generator().manual_seed(1)
    # Three channels, in the memory format of networks, which draws follow.
    x = torch.rand(7, 3, 4, 4, generator=random).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 2, (7,), generator=random)
    classifier = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 2))
    whole, labels = perturb(objective(name), classifier, x, y, generator("cpu", 0))
    everywhere = objective(name).draw(x, generator("cpu", 0))
    expected_loss, found_loss = objective(name).loss(classifier(whole), labels, whole, everywhere), 0.0
    for rows in (slice(0, None, 2), slice(1, None, 2), slice(6, None)):
        own = x[rows].contiguous(memory_format=torch.channels_last)
        drawn = [part[rows] for part in objective(name).draw(own, generator("cpu", 0), count=7)]
        seen, labels = objective(name).perturb(classifier, own, y[rows], drawn)
        expected = whole.unflatten(0, (7, -1))[rows].flatten(0, 1)
        torch.testing.assert_close(seen, expected, atol=1e-6, rtol=1e-5)
        loss = objective(name).loss(classifier(seen), labels, seen, drawn)
        found_loss += len(own) / 7 * loss.detach() if rows.step else 0.0
    torch.testing.assert_close(found_loss, expected_loss.detach(), atol=1e-5, rtol=1e-5)
    none = objective(name).draw(x[:0], generator("cpu", 0), count=7)
    assert [len(part) for part in none] == [7] * len(none)


def test_consistency_is_cross_entropy_and_the_divergence_of_draws_from_their_mean(batch):
    """Against a plain loop over pictures and draws, with SciPy's entropies."""
    x, y = batch[0][:5], batch[1][:5]
    objective = make("consistency", sigma=1.0, draws=3, agreement=10, entropy=0.5)
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
    assert objective.loss(logits, labels, seen, ()).item() == pytest.approx(np.mean(losses), rel=1e-5)


class Smooth(torch.nn.Module):
    """A network with curvature, whose weights can be moved: pictures of 1 x 4 x 4, three classes."""

    def __init__(self):
        super().__init__()
        source = torch.Generator().manual_seed(3)
        self.inner = torch.nn.Parameter(torch.randn(16, 8, generator=source))
        self.outer = torch.nn.Parameter(torch.randn(8, 3, generator=source))

    def forward(self, x):
        return torch.tanh(x.flatten(1) @ self.inner) @ self.outer


@pytest.fixture
def smooth():
    """A network, five pictures and labels of which some are right, and their number."""
    random = torch.Generator().manual_seed(4)
    network, x = Smooth().double(), torch.rand(5, 1, 4, 4, generator=random).double()
    y = network(x).argmax(dim=1)
    y[0] = (y[0] + 1) % 3
    return network, x, y


def loss_of(objective, network, x, y):
    """Return the loss, the draws and the pictures seen."""
    drawn = objective.draw(x, generator("cpu", 0))
    seen, labels = objective.perturb(network, x, y, drawn)
    return objective.loss(network(seen), labels, seen, drawn), drawn, seen


def test_smoothmix_is_the_cross_entropy_and_the_divergence_from_labels_that_know_less(smooth):
    """Against a plain loop over pictures and draws (Jeong et al. 2021, Algorithm 1)."""
    network, x, y = smooth
    made = make("smoothmix", sigma=0.5, draws=2, attack_steps=3, attack_step=0.3, mixing=4, warmup=8).in_epoch(1)
    loss, (noise, shares), seen = loss_of(made, network, x, y)
    losses = []
    for image, label, draws, share, rows in zip(x, y, noise, shares.flatten(), seen.view(5, 4, 1, 4, 4), strict=True):
        at = image.clone()
        for _ in range(3):
            at.requires_grad_(True)
            (slope,) = torch.autograd.grad(-network(at + draws).softmax(dim=1).mean(dim=0)[label].log(), at)
            at = (at.detach() + 0.3 * slope / slope.norm()).clamp(0, 1)
        plain, mixture = image + draws, (1 - share) * image + share * at + draws
        torch.testing.assert_close(rows, torch.cat([plain, mixture]), atol=1e-5, rtol=1e-5)
        mean = network(plain).softmax(dim=1).mean(dim=0)
        soft = (1 - share) * mean + share / 3
        divergence = sum(entropy(soft.detach(), said.softmax(dim=0).detach()) for said in network(mixture)) / 2
        counts = 4 * 2 / 8 if mean.argmax() == label else 0
        one = torch.nn.functional.cross_entropy(network(plain), label.repeat(2))
        losses.append(one.item() + counts * divergence)
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-6)
    assert shares.min() >= 0 and shares.max() <= 0.5


@pytest.mark.parametrize("sigma", [0, 0.5])
def test_pag_is_one_less_the_cosine_with_the_direction_to_each_classs_mean(smooth, sigma):
    """Against finite differences of log p_t, picture by picture; the gradient on the weights against them too."""
    network, x, y = smooth
    made = make("pag", sigma=sigma, alignment=2, targets=3)
    made.means = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(5)).double()
    loss, _, seen = loss_of(made, network, x, y)

    def plain() -> float:
        with torch.no_grad():
            cosines = []
            for image, clean in zip(seen, x, strict=True):
                steps = 1e-5 * torch.eye(16, dtype=torch.float64).view(16, 1, 4, 4)
                slopes = (network(image + steps).log_softmax(1) - network(image - steps).log_softmax(1)) / 2e-5
                for t in range(3):
                    cosines.append(torch.cosine_similarity(slopes[:, t], (made.means[t] - clean).flatten(), dim=0))
            return (torch.nn.functional.cross_entropy(network(seen), y) + 2 * (1 - sum(cosines) / 15)).item()

    assert loss.item() == pytest.approx(plain(), rel=1e-6)
    loss.backward()
    slope, move = network.inner.grad[3, 2].item(), 1e-4
    with torch.no_grad():
        network.inner[3, 2] += move
        above = plain()
        network.inner[3, 2] -= 2 * move
        assert (above - plain()) / (2 * move) == pytest.approx(slope, rel=1e-3, abs=1e-6)


def test_pags_targets_are_different_classes_and_each_as_likely():
    made = make("pag", sigma=0, alignment=1, targets=2)
    _, drawn = made.draw(torch.zeros(3000, 1, 4, 4), generator("cpu", 0))
    first, second = (made.target(drawn, number, 3) for number in range(2))
    assert (first != second).all()
    assert np.bincount(torch.cat([first, second]), minlength=3) == pytest.approx(2000, abs=120)


def test_gradnorm_is_half_the_squared_norm_of_the_loss_on_each_picture(smooth):
    network, x, y = smooth
    loss, _, seen = loss_of(make("gradnorm", sigma=0.5, penalty=0.3), network, x, y)
    losses = []
    for image, label in zip(seen.detach(), y, strict=True):
        one = torch.nn.functional.cross_entropy(network(image), label.view(1))
        steps = 1e-5 * torch.eye(16, dtype=torch.float64).view(16, 1, 4, 4)
        logs = network(image + steps).log_softmax(1)[:, label] - network(image - steps).log_softmax(1)[:, label]
        losses.append((one + 0.3 / 2 * (logs / 2e-5).square().sum()).item())
    assert loss.item() == pytest.approx(np.mean(losses), rel=1e-6)
