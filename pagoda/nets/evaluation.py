"""The share of test pictures that a classifier gets right: clean, and under its objective's perturbation."""

from collections.abc import Iterator
from functools import partial

import torch

from pagoda.data.batches import batches
from pagoda.data.dataset import Split
from pagoda.maths.confidence import interval, lower_bound
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
        for given, labels in _answers(classifier, test, under, order, size, device, seed, workers, group):
            count += (given == labels).sum()
        return count

    found: dict = {}
    for name, under in filter(None, [("clean_accuracy", make("standard")), objective.tested()]):
        right = int(group.sum(MicroBatch(label, batch).run(partial(hits, under))))
        found |= {name: right / n, f"{name}_95": interval(right, n), "n": n}
    return found


def answers(
    classifier: BaseClassifier,
    test: Split,
    objective: Objective,
    *,
    device: torch.device,
    batch: int,
    seed: int,
    label: str,
    images: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the classes that a classifier sees in the first test pictures, and theirs, int64 [n], n <= `images`.

    Pictures are under the objective's perturbation, with the draws of `accuracies`; arguments are as there.
    """
    order = list(torch.arange(min(images, len(test))).split(batch))

    def collect(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        parts = list(_answers(classifier.eval(), test, objective, order, size, device, seed, 0, ALONE))
        return tuple(torch.cat(rows).cpu() for rows in zip(*parts, strict=True))

    return MicroBatch(label, batch).run(collect)


def _answers(
    classifier: BaseClassifier,
    test: Split,
    under: Objective,
    order: list[torch.Tensor],
    size: int,
    device: torch.device,
    seed: int,
    workers: int,
    group: Group,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield what the classifier sees in `size` pictures at a time of this process's batches, and their labels."""
    for turn, (x, y) in enumerate(batches(test, order, device=device, workers=workers)):
        drawn = under.draw(x, generator(device, seed, "evaluate", group.rank + turn * group.of))
        for part in zip(*(rows.split(size) for rows in (x, y, *drawn)), strict=True):
            seen, labels = under.perturb(classifier, *part[:2], part[2:])
            with torch.no_grad():
                yield classifier(seen).argmax(dim=1), labels


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
