"""The soft scores of the smoothed classifier: its base classifier's probabilities, averaged over noise.

    p_t(x) = E[softmax(f(x + noise))_t],    noise ~ N(0, sigma^2 I)

Sources: Salman et al. 2019 (arXiv 1906.04584); Kaur, Cohen & Lipton 2019 (arXiv 1910.08640).
"""

import math
from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import logsigmoid

Classifier = Callable[[Tensor], Tensor]
"""Images [B, C, H, W] with pixel values in [0, 1], noise added or not, to logits [B, classes]."""


def log_soft_score(base: Classifier, noisy: Tensor, target: Tensor) -> Tensor:
    """Return log p_t, the estimated soft score of the smoothed classifier: a logsumexp over draws.

    Ascending p_t and ascending its logarithm go the same way, unlike the mean log-probability or the mean logit.

    Args:
        base: the base classifier.
        noisy: B images in N noisy copies each, [B, N, C, H, W].
        target: class numbers, int64 [B].

    Returns:
        [B], differentiable with respect to `noisy`.

    """
    images, draws = noisy.shape[:2]
    logits = base(noisy.flatten(0, 1)).float()
    chosen = target.repeat_interleave(draws).unsqueeze(1)
    # Not log_softmax: where p_t is near 1, its gradient is a rounding error of 1 - p_t.
    others = logits.scatter(1, chosen, -math.inf).logsumexp(dim=1)
    log_p = logsigmoid(logits.gather(1, chosen).squeeze(1) - others)
    return log_p.view(images, draws).logsumexp(dim=1) - math.log(draws)
