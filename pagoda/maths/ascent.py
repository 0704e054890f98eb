"""Targeted ascent on the score of a smoothed (or, at sigma 0, an unsmoothed) classifier.

Source: Kaur, Cohen & Lipton 2019, "Are Perceptually-Aligned Gradients a General Property of Robust Classifiers?"
(arXiv 1910.08640). Hyper-parameters are ours, not theirs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pagoda.errors import BadInput
from pagoda.maths.ball import climb, cosine, norms, unit
from pagoda.maths.noise import Noise
from pagoda.maths.soft import Classifier, log_soft_score


def log_score(base: Classifier, x: Tensor, target: Tensor, noise: Noise) -> Tensor:
    """Return log p_t alone, [B], without a gradient. Arguments as `log_score_and_gradient`."""
    scores = []
    for some in noise.slices(len(x)):
        parts = []
        with torch.no_grad():
            for noisy in noise.copies(x[some], some.start):
                parts.append(log_soft_score(base, noisy, target[some]) + math.log(noisy.shape[1]))
        scores.append(torch.stack(parts).logsumexp(dim=0) - math.log(noise.count))
    return torch.cat(scores)


def log_score_and_gradient(base: Classifier, x: Tensor, target: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return (log p_t, its gradient) of the soft smoothed classifier at `x`.

    Over parts c of the draws, p = sum_c p_c, so grad log p = sum_c (p_c / p) grad log p_c: memory is bounded by the
    noise's `batch`, and the value is that of all draws in one batch.

    Args:
        base: the base classifier, in eval mode.
        x: images, [B, C, H, W].
        target: class numbers, int64 [B].
        noise: what to average over.

    Returns:
        log p_t, [B], and the gradient, [B, C, H, W].

    """
    scores, gradients = [], []
    for some in noise.slices(len(x)):
        parts, slopes = [], []
        for noisy in noise.copies(x[some], some.start):
            with torch.inference_mode(False), torch.enable_grad():  # whatever the caller has
                noisy = noisy.clone() if noisy.is_inference() else noisy
                score = log_soft_score(base, noisy.requires_grad_(True), target[some])
                if not score.requires_grad:
                    raise BadInput(
                        "the network's output has no gradient: it does not depend on its input, or is detached"
                    )
                (slope,) = torch.autograd.grad(score.sum(), noisy)
            parts.append(score.detach() + math.log(noisy.shape[1]))
            slopes.append(slope.sum(dim=1))
        logs = torch.stack(parts)
        scores.append(logs.logsumexp(dim=0) - math.log(noise.count))
        gradients.append(torch.einsum("pb,pb...->b...", logs.softmax(dim=0), torch.stack(slopes)))
    return torch.cat(scores), torch.cat(gradients)


def log_score_and_logit_gradient(base: Classifier, x: Tensor, target: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return (log p_t, the gradient of the mean over draws of the target's logit). As `log_score_and_gradient`.

    An ablation: a logit is not held down where p_t is near 1, nor does it push other classes away.
    """
    gradients = []
    for some in noise.slices(len(x)):
        total = torch.zeros_like(x[some])
        for noisy in noise.copies(x[some], some.start):
            with torch.enable_grad():
                logits = base(noisy.requires_grad_(True).flatten(0, 1))
                chosen = logits.gather(1, target[some].repeat_interleave(noisy.shape[1]).unsqueeze(1))
                (slope,) = torch.autograd.grad(chosen.sum(), noisy)
            total += slope.sum(dim=1)
        gradients.append(total / noise.count)
    return log_score(base, x, target, noise), torch.cat(gradients)


def log_score_and_descent(base: Classifier, x: Tensor, target: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return (log p_t, minus its gradient): away from a class, towards none. As `log_score_and_gradient`."""
    score, gradient = log_score_and_gradient(base, x, target, noise)
    return score, -gradient


SCORES = {
    "log-p": log_score_and_gradient,
    "logit": log_score_and_logit_gradient,
    "untargeted": log_score_and_descent,
}
"""What can be ascended, by name: log p_t; the mean logit of the target; or -log p of the class that a picture is of."""


def split_half(base: Classifier, x: Tensor, target: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Return an estimate of grad log p_t, [B, C, H, W], and its cosine with an independent one, [B], in [-1, 1].

    Near 1, noise draws no longer decide the direction; near 0, they do, and there are too few. At sigma 0 there is
    nothing to estimate, and it is 1. NaN for a gradient of length 0. Arguments as `log_score_and_gradient`.
    """
    first, second = (log_score_and_gradient(base, x, target, noise.keyed(half))[1] for half in ("first", "second"))
    return first, cosine(first, second).masked_fill((norms(first) == 0) | (norms(second) == 0), math.nan)


RMS = 32
"""What stands in a kept gradient, an int8, for the root mean square of its values: it reaches to 4 times that."""


@dataclass(frozen=True)
class Ascended:
    """Where an ascent led, and its way there; of B images, on the images' device.

    `end`, [B, C, H, W], is in [0, 1]. `p_path`, [steps, B], is p_t before each step, estimated from that step's draws.
    `frames`, uint8 [F, B, C, H, W], are the images after `frame_steps`, [F], steps; 0 is the source. `gradients`, int8
    [F, B, C, H, W], are those of the score at these images, of the draws of the step that starts there, RMS times as
    much as their root mean square, cut at -127 and 127: a step has no other length than its own. Both lie on the CPU.
    """

    end: Tensor
    p_path: Tensor
    frames: Tensor
    gradients: Tensor
    frame_steps: list[int]


def ascend(
    base: Classifier,
    source: Tensor,
    target: Tensor,
    noise: Noise,
    *,
    epsilon: float,
    step: float,
    steps: int,
    momentum: float = 0.0,
    frames: int = 2,
    watch: Callable[[int], None] = lambda done: None,
    score: str = "log-p",
) -> Ascended:
    """Ascend log p_t from `source` within the L2 ball of radius `epsilon`, with fresh noise at every step.

    Args:
        base, target, noise: as for `log_score_and_gradient`; step i has the draws of (*key, i).
        source: images to start from and to stay near, [B, C, H, W], in [0, 1].
        epsilon: radius of the ball, L2, in pixel values, > 0.
        step: length of a step, L2, in pixel values, > 0.
        steps: how many, >= 1.
        momentum: share of the steps so far that a step takes along, 0 <= it < 1.
        frames: how many images to keep along the way, evenly spread, the source and the end included.
        watch: called as watch(steps done) after every step.
        score: what is ascended, one of SCORES; others than log p_t are ablations.

    Raises:
        FloatingPointError: where log p_t or the end is not finite.

    """
    scores, kept, slopes = [], {}, {}
    wanted = frame_steps(steps, frames)

    def gradient(x: Tensor, i: int) -> Tensor:
        found, slope = SCORES[score](base, x, target, noise.keyed(i))
        scores.append(found)
        if i in wanted:
            scaled = unit(slope) * (RMS * math.sqrt(x[0].numel()))
            slopes[i] = scaled.round().clamp(-127, 127).to(torch.int8).cpu()
        return slope

    def keep(done: int, x: Tensor) -> None:
        if done in wanted:
            kept[done] = (x * 255).round().to(torch.uint8).cpu()
        if done:
            watch(done)

    end = climb(source, gradient, epsilon=epsilon, step=step, steps=steps, momentum=momentum, watch=keep)
    log_path = torch.stack(scores)
    gradient(end, steps)
    if not (end.isfinite().all() and log_path.isfinite().all()):
        raise FloatingPointError("p_t is not finite")
    at_frames = (torch.stack([of[done] for done in wanted]) for of in (kept, slopes))
    return Ascended(end, log_path.exp(), *at_frames, wanted)


def frame_steps(steps: int, frames: int) -> list[int]:
    """Return after how many steps a frame is kept: `frames` numbers from 0 to `steps`, evenly spread, none twice."""
    return sorted({round(k * steps / max(1, frames - 1)) for k in range(frames)} | {0, steps})
