"""A training under way: the network, its optimiser and schedule, and where it stands; one SGD step at a time.

Several processes share each batch: each takes the gradient on its rows, and all take the same step on the sum, so
that they hold the same network. Batch norm normalises the rows that go through the network at once, as it does in
PyTorch's DistributedDataParallel; running statistics are the mean over rows of those of the processes.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from pagoda.device import autocast
from pagoda.errors import BadInput
from pagoda.maths.randomness import generator
from pagoda.maths.share import Share
from pagoda.memory import MicroBatch
from pagoda.nets.architectures import build_seeded
from pagoda.nets.group import Group
from pagoda.nets.model import BaseClassifier, Identity
from pagoda.nets.objectives import Objective, draw, perturb

ALONE = Group()


class Training:
    """SGD with Nesterov momentum and a one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).

    `done` counts steps; `history` has a row an epoch; `seconds` is the time that the steps took; `micro` is how many
    rows of a batch go through the network at once.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        device: torch.device,
        batch: int,
        steps_an_epoch: int,
        epochs: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        label: str = "train",
        group: Group = ALONE,
    ):
        """Build the network that `identity` names, with weights drawn from its seed, at step 0.

        Args:
            identity: architecture, objective, normalisation, seed, precision.
            device: where it trains.
            batch: pictures a step, at most.
            steps_an_epoch: steps that make an epoch, >= 1.
            epochs: passes over the training pictures, >= 1.
            learning_rate: peak of the schedule.
            momentum: of SGD.
            weight_decay: L2 penalty on the weights.
            label: its name in log lines.
            group: the processes that share each batch.

        """
        self.identity, self.device, self.steps_an_epoch = identity, device, steps_an_epoch
        self.total, self.peak = epochs * steps_an_epoch, learning_rate
        self.group, self.share = group, Share(group.rank, group.of)
        note = "batch norm normalises each such part; nothing else changes"
        self.micro = MicroBatch(label, max(1, len(range(batch)[self.share.rows(batch)])), note)
        self.objective = Objective(**identity.objective)
        network = build_seeded(
            identity.seed, identity.architecture, len(identity.classes), identity.channels, **identity.options
        )
        self.classifier = BaseClassifier(network, identity.mean, identity.std)
        self.classifier.to(device, memory_format=torch.channels_last)
        self.optimiser = torch.optim.SGD(
            self.classifier.parameters(),
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=momentum > 0,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, learning_rate, total_steps=self.total, cycle_momentum=False
        )
        self.parameters = list(self.classifier.parameters())
        self.statistics = [one for one in network.buffers() if one.is_floating_point()]  # batch norm's
        self._before = [torch.empty_like(one) for one in self.statistics]
        self.done, self.seconds, self.history = 0, 0.0, []
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)  # of this epoch: loss, hits, pictures

    def state(self) -> dict:
        """Return all that a checkpoint holds."""
        return {
            "progress": self.done,
            "seconds": self.seconds,
            "history": self.history,
            "totals": self.totals,
            "network": self.classifier.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: dict) -> None:
        """Go on from `state`."""
        self.done, self.seconds, self.history = state["progress"], state["seconds"], state["history"]
        self.totals = state["totals"].to(self.device)
        self.classifier.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])

    def step(self, x: Tensor, y: Tensor, count: int | None = None) -> None:
        """Take one SGD step on a batch of `count` pictures; None: on `x` alone.

        Where memory does not suffice for all of its rows at once, it takes them in parts, with the same draws.

        Args:
            x: this process's rows of the batch, [B, C, H, W] in [0, 1], B >= 0.
            y: their labels, int64 [B].
            count: pictures of the whole batch.

        Raises:
            BadInput: where memory does not suffice for one picture.

        """
        count = len(y) if count is None else count
        source = generator(self.device, self.identity.seed, "perturb", self.done)
        x = x.contiguous(memory_format=torch.channels_last)
        objective = self.objective.in_epoch(self.done // self.steps_an_epoch)
        drawn = [part[self.share.rows(count)] for part in draw(objective, x, source, count)]
        if self.statistics:
            torch._foreach_copy_(self._before, self.statistics)

        def whole(size: int) -> Tensor:
            # Begun anew after an attempt that ran out of memory: as if that had not been.
            self.optimiser.zero_grad(set_to_none=True)
            if self.statistics:
                torch._foreach_copy_(self.statistics, self._before)
            sums = torch.zeros_like(self.totals)
            for parts in zip(*(rows.split(size) for rows in (x, y, *drawn)), strict=True):
                sums += self._add_gradient(objective, *parts, count=count)
            return sums

        sums = self.micro.run(whole) if len(y) else torch.zeros_like(self.totals)
        self._sum_over_processes(sums, len(y) / count)
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        self.totals += sums

    def _add_gradient(self, objective: Objective, x: Tensor, y: Tensor, *drawn: Tensor, count: int) -> Tensor:
        """Add the gradient on some pictures of a batch of `count`; return loss (summed), hits and pictures."""
        fraction = len(y) / count
        with autocast(self.identity.precision, self.device):
            x, y = perturb(objective, self.classifier, x, y, drawn)
            logits = self.classifier(x).float()
        loss = F.cross_entropy(logits, y)
        (fraction * loss).backward()
        hits = (logits.detach().argmax(dim=1) == y).sum()
        return torch.stack([loss.detach() * len(y), hits, hits.new_tensor(len(y))]).double()

    def _sum_over_processes(self, sums: Tensor, fraction: float) -> None:
        """Have each process hold the whole batch's gradient, running statistics and `sums`; its own rows' `fraction`.

        All at once, after the gradient: a process that takes its rows in parts keeps the others waiting, no more.
        """
        if self.group.of == 1:
            return
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        shared = [*gradients, *self.statistics, sums]
        weighted = [*gradients, *(fraction * one for one in self.statistics), sums.float()]
        flat = self.group.sum(torch.cat([one.reshape(-1) for one in weighted]))
        for one, summed in zip(shared, flat.split([one.numel() for one in shared]), strict=True):
            one.copy_(summed.view_as(one))
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient

    def end_epoch(self) -> dict:
        """Append the epoch that ends here to the history and return its row.

        Raises:
            BadInput: where the loss is not finite.

        """
        loss, hits, count = self.totals.tolist()
        self.totals.zero_()
        epoch = self.done // self.steps_an_epoch
        if not math.isfinite(loss):
            raise BadInput(f"the loss is {loss} in epoch {epoch}: learning_rate {self.peak:g} is too high")
        row = {
            "epoch": epoch,
            "learning_rate": self.schedule.get_last_lr()[0],
            "loss": loss / count,
            "accuracy": hits / count,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(row)
        return row
