"""The L2 ball in the box of images: steps along a gradient, and the projection back.

Images are float tensors of shape [B, ...] with values in [0, 1]; norms are L2 over all but the first axis.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def norms(v: Tensor) -> Tensor:
    """Return the L2 norm of each of `v`'s members: [B, ...] -> [B]."""
    return v.flatten(1).norm(dim=1)


def per_image(scale: Tensor, like: Tensor) -> Tensor:
    """Reshape `scale`, [B], so that it multiplies `like`, [B, ...], image by image."""
    return scale.view(-1, *[1] * (like.dim() - 1))


def unit(v: Tensor) -> Tensor:
    """Scale each member of `v`, [B, ...], to L2 norm 1; a zero member stays zero.

    Divides by the largest magnitude first, so that gradients of 1e-30 keep their direction.
    """
    peak = v.flatten(1).abs().amax(dim=1)
    v = v / per_image(torch.where(peak > 0, peak, 1), v)
    length = norms(v)
    return v / per_image(torch.where(length > 0, length, 1), v)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine of each member of `a` with its counterpart in `b`: [B, ...], [B, ...] -> [B]; 0 with a zero."""
    return (unit(a) * unit(b)).flatten(1).sum(dim=1)


def project(x: Tensor, source: Tensor, epsilon: float) -> Tensor:
    """Project `x` onto the L2 ball of radius `epsilon` around `source`, then clamp it to [0, 1].

    Both are [B, ...]; `source` is in the box, so that clamping moves every coordinate towards it and cannot leave
    the ball.
    """
    change = x - source
    shrink = (epsilon / norms(change).clamp_min(torch.finfo(x.dtype).tiny)).clamp_max(1)
    return (source + per_image(shrink, change) * change).clamp(0, 1)


def climb(
    source: Tensor,
    gradient: Callable[[Tensor, int], Tensor],
    *,
    epsilon: float,
    step: float,
    steps: int,
    momentum: float = 0.0,
    start: Tensor | None = None,
    watch: Callable[[int, Tensor], None] = lambda done, x: None,
) -> Tensor:
    """Projected gradient ascent, `steps` times: v <- momentum * v + unit(gradient(x)), x <- project(x + step * v).

    Args:
        source: centre of the ball, [B, ...], in [0, 1].
        gradient: maps (x, number of the step from 0) to a tensor of x's shape.
        epsilon: radius of the ball, L2, in pixel values.
        step: length of a step, L2, in pixel values.
        steps: how many.
        momentum: share of the last step's v that is kept, 0 <= it < 1; v starts at 0.
        start: where to begin, [B, ...] (default: the source).
        watch: called as watch(steps done, x) at the start and after every step.

    Returns:
        The last x, [B, ...], within the ball and the box.

    """
    x = source if start is None else start
    velocity = torch.zeros_like(x)
    watch(0, x)
    for i in range(steps):
        velocity = momentum * velocity + unit(gradient(x, i))
        x = project(x + step * velocity, source, epsilon)
        watch(i + 1, x)
    return x
