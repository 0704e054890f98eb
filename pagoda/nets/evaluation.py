"""The share of test pictures that a classifier gets right: clean, and under its objective's perturbation."""

from functools import partial

import torch

from pagoda.data.batches import batches
from pagoda.data.dataset import Split
from pagoda.maths.confidence import interval
from pagoda.maths.randomness import generator
from pagoda.memory import MicroBatch
from pagoda.nets.group import ALONE, Group
from pagoda.nets.model import BaseClassifier
from pagoda.nets.objectives import Objective, make


def accuracies(
    classifier: BaseClassifier,
    test: Split,
    objective: Objective,
    *,
    device: torch.device,
    batch: int,
    seed: int,
    label: str,
    images: int | None = None,
    workers: int = 0,
    group: Group = ALONE,
) -> dict:
    """Return what ``summary.json`` says of a classifier: its accuracies, each with its 95 % interval, and n.

    Every process takes whole batches, in turn, so that their number changes no draw and no rounding.

    Args:
        classifier: pictures [B, C, H, W] -> logits [B, classes]; it is put in eval mode.
        test: the pictures and their labels.
        objective: how it was trained, and so what it is tested under, beside clean.
        device: where.
        batch: pictures of a batch; draws are a function of (seed, number of the batch).
        seed: of the draws.
        label: what the step is called where memory does not suffice for a batch at once.
        images: pictures to take, the first ones; None: all.
        workers: processes that decode, where pictures are files.
        group: the processes that share the batches; all get the accuracies of the whole.

    Raises:
        BadInput: where memory does not suffice for one picture.

    """
    classifier.eval()
    n = min(images or len(test), len(test))
    order = list(torch.arange(n).split(batch))[group.share]

    def hits(under: Objective, size: int) -> torch.Tensor:
        count = torch.zeros(1, dtype=torch.int64, device=device)
        for turn, (x, y) in enumerate(batches(test, order, device=device, workers=workers)):
            drawn = under.draw(x, generator(device, seed, "evaluate", group.rank + turn * group.of))
            for part in zip(*(rows.split(size) for rows in (x, y, *drawn)), strict=True):
                seen, labels = under.perturb(classifier, *part[:2], part[2:])
                with torch.no_grad():
                    count += (classifier(seen).argmax(dim=1) == labels).sum()
        return count

    found: dict = {}
    for name, under in filter(None, [("clean_accuracy", make("standard")), objective.tested()]):
        right = int(group.sum(MicroBatch(label, batch).run(partial(hits, under))))
        found |= {name: right / n, f"{name}_95": interval(right, n), "n": n}
    return found
