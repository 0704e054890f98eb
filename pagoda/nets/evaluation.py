"""The share of test pictures that a classifier gets right: clean, and under its objective's perturbation."""

from typing import Any

import torch

from pagoda.data.batches import stream
from pagoda.data.dataset import Split
from pagoda.maths.confidence import interval, lower_bound
from pagoda.maths.randomness import generator
from pagoda.memory import MicroBatch
from pagoda.nets.group import ALONE, Group
from pagoda.nets.model import BaseClassifier
from pagoda.nets.objectives import Objective, make


def accuracies(classifier: BaseClassifier, test: Split, objective: Objective, group: Group = ALONE, **how: Any) -> dict:
    """Return what ``summary.json`` says of a classifier: its accuracies, each with its 95 % interval, and n.

    Clean, and under what its training `objective` is tested under; arguments as `answers`, and all of `group` get the
    accuracies of the whole.
    """
    found, n = {}, min(how.get("images") or len(test), len(test))
    for name, under in filter(None, [("clean_accuracy", make("standard")), objective.tested()]):
        given, labels = answers(classifier, test, under, group=group, **how)
        right = int(group.sum((given == labels).sum()))
        found |= {name: right / n, f"{name}_95": interval(right, n), "n": n}
    return found


def answers(
    classifier: BaseClassifier,
    test: Split,
    under: Objective,
    *,
    device: torch.device,
    batch: int,
    seed: int,
    label: str,
    images: int | None = None,
    workers: int = 0,
    group: Group = ALONE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the classes that a classifier sees in test pictures, and theirs, int64 [n].

    Every process takes whole batches, in turn, so that their number changes no draw and no rounding.

    Args:
        classifier: pictures [B, C, H, W] -> logits [B, classes]; it is put in eval mode.
        test: the pictures and their labels.
        under: the objective under whose perturbation it sees them.
        device: where.
        batch: pictures of a batch; draws are a function of (seed, number of the batch).
        seed: of the draws.
        label: what the step is called where memory does not suffice for a batch at once.
        images: pictures to take, the first ones; None: all.
        workers: processes that decode, where pictures are files.
        group: the processes that share the batches; each gets the answers to its own.

    Raises:
        BadInput: where memory does not suffice for one picture.

    """
    classifier.eval()
    order = list(torch.arange(min(images or len(test), len(test))).split(batch))[group.share]

    def seen_in(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        given, theirs = ([torch.zeros(0, dtype=torch.int64, device=device)] for _ in range(2))
        rows = stream(test, lambda epoch: order, device=device, steps=len(order), workers=workers)
        for turn, (x, y) in enumerate(rows):
            drawn = under.draw(x, generator(device, seed, "evaluate", group.rank + turn * group.of))
            for part in zip(*(rows.split(size) for rows in (x, y, *drawn)), strict=True):
                seen, labels = under.perturb(classifier, *part[:2], part[2:])
                with torch.no_grad():
                    given.append(classifier(seen).argmax(dim=1))
                theirs.append(labels)
        return torch.cat(given).cpu(), torch.cat(theirs).cpu()

    return MicroBatch(label, batch).run(seen_in)


def surpasses(hits: torch.Tensor, others: torch.Tensor, alpha: float) -> bool:
    """Tell whether a classifier got more of the same pictures right than another: McNemar's test, exact, one-sided.

    Args:
        hits: whether it got each picture right, bool [n].
        others: whether the other did.
        alpha: chance of saying so of two that are equally good.

    """
    gains, losses = (int((one & ~other).sum()) for one, other in ((hits, others), (others, hits)))
    return gains > 0 and lower_bound(gains, gains + losses, alpha) > 0.5


def likely_order(given: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
    """Return the class that each of a network's outputs most likely means, int64 [classes], each class once.

    Args:
        given: the output that was largest for each picture, int64 [n].
        labels: the classes of the pictures, int64 [n].
        classes: how many there are.

    """
    from scipy.optimize import linear_sum_assignment  # imported late: a training does without

    counts = torch.zeros(classes, classes).index_put_((given, labels), torch.ones(len(given)), accumulate=True)
    counts += 1e-6 * torch.eye(classes)  # where nothing speaks for another, its own
    return torch.as_tensor(linear_sum_assignment(counts.numpy(), maximize=True)[1])
