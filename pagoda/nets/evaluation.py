"""How many test pictures a classifier classifies correctly, under an objective's perturbation."""

import torch

from pagoda.data.batches import batches
from pagoda.data.dataset import Split
from pagoda.maths.randomness import generator
from pagoda.memory import MicroBatch
from pagoda.nets.group import Group
from pagoda.nets.model import BaseClassifier
from pagoda.nets.objectives import Objective, draw, perturb


def hits(
    classifier: BaseClassifier,
    test: Split,
    objective: Objective,
    *,
    device: torch.device,
    batch: int,
    seed: int,
    label: str,
    workers: int = 0,
    group: Group,
) -> int:
    """Count the pictures of `test` that `classifier` gets right, in eval mode and in float32.

    Every process takes whole batches, in turn, so that their number changes no draw and no rounding.

    Args:
        classifier: pictures [B, C, H, W] -> logits [B, classes].
        test: the pictures and their labels.
        objective: what they are perturbed by.
        device: where.
        batch: pictures of a batch; draws are a function of (seed, number of the batch).
        seed: see there.
        label: what the step is called where memory does not suffice for a batch at once.
        workers: processes that decode, where pictures are files.
        group: the processes that share the batches; all get the whole count.

    Raises:
        BadInput: for an unknown objective, or where memory does not suffice for one picture.

    """
    classifier.eval()
    order = list(torch.arange(len(test)).split(batch))
    micro = MicroBatch(label, batch, "with the same draws")
    mine = range(group.rank, len(order), group.of)
    count = torch.zeros(1, dtype=torch.int64, device=device)
    places = [order[number] for number in mine]
    for number, (x, y) in zip(mine, batches(test, places, device=device, workers=workers), strict=True):
        drawn = draw(objective, x, generator(device, seed, "evaluate", number))

        def right(size: int, parts=(x, y, *drawn)) -> torch.Tensor:
            found = [_right(classifier, objective, *rows) for rows in zip(*(p.split(size) for p in parts), strict=True)]
            return torch.stack(found).sum()

        count += micro.run(right)
    return int(group.sum(count))


def _right(classifier: BaseClassifier, objective: Objective, x: torch.Tensor, y: torch.Tensor, *drawn) -> torch.Tensor:
    x, y = perturb(objective, classifier, x, y, drawn)
    with torch.no_grad():
        return (classifier(x).argmax(dim=1) == y).sum()
