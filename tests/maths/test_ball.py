import torch

from pagoda.maths.ball import climb, norms, project, unit


def test_projection_is_the_nearest_point_of_the_ball():
    source = torch.full((4, 3, 5, 5), 0.5, dtype=torch.float64)
    random = torch.Generator().manual_seed(0)
    x = source + torch.randn(source.shape, generator=random, dtype=torch.float64) * 0.05
    nearest = project(x, source, 0.3)
    assert (norms(nearest - source) <= 0.3 + 1e-12).all()
    # The variational inequality: no point of the ball lies on x's side of the plane through the nearest one.
    for _ in range(200):
        direction = unit(torch.randn(source.shape, generator=random, dtype=torch.float64))
        other = source + 0.3 * torch.rand(4, 1, 1, 1, generator=random, dtype=torch.float64) * direction
        assert (((x - nearest) * (other - nearest)).flatten(1).sum(dim=1) <= 1e-12).all()


def test_projection_stays_in_the_box_and_the_ball_and_is_idempotent():
    random = torch.Generator().manual_seed(1)
    source = torch.rand(16, 1, 6, 6, generator=random)
    x = source + 3 * torch.randn(source.shape, generator=random)
    once = project(x, source, 1.5)
    assert once.min() >= 0 and once.max() <= 1
    assert (norms(once - source) <= 1.5 + 1e-5).all()
    torch.testing.assert_close(project(once, source, 1.5), once)
    inside = source + 1e-3 * (0.5 - source)
    torch.testing.assert_close(project(inside, source, 1.5), inside)


def test_unit_keeps_the_direction_of_tiny_gradients_and_zero_at_zero():
    v = torch.tensor([[3.0, 4.0], [3e-30, 4e-30], [0.0, 0.0]])
    torch.testing.assert_close(unit(v), torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))


def test_climb_goes_the_way_of_pytorchs_sgd_with_momentum():
    source, peak = torch.full((1, 2, 3), 0.5), torch.tensor([[[0.51, 0.48, 0.5], [0.49, 0.52, 0.53]]])
    end = climb(source, lambda x, i: peak - x, epsilon=9, step=0.002, steps=7, momentum=0.9)
    change = torch.zeros_like(source, requires_grad=True)
    optimiser = torch.optim.SGD([change], lr=0.002, momentum=0.9)
    for _ in range(7):
        change.grad = -unit(peak - source - change.detach())
        optimiser.step()
    torch.testing.assert_close(end, source + change.detach())


def test_climb_reaches_the_optimum_of_a_linear_score():
    random = torch.Generator().manual_seed(2)
    weight = torch.randn(1, 3, 4, 4, generator=random)
    source = torch.full((2, 3, 4, 4), 0.5)
    end = climb(source, lambda x, i: weight.expand_as(x), epsilon=0.4, step=0.1, steps=10)
    torch.testing.assert_close(end, source + 0.4 * weight / weight.norm())
