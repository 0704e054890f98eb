"""A training under way: the network, its optimisers and their schedules, and where it stands; one step at a time.

Several processes share each batch: each takes the gradient on its rows, and DistributedDataParallel has all take the
same step on the mean, so that they hold the same network. On GPUs, batch norm normalises the rows of all processes
together (SyncBatchNorm, which PyTorch has for GPUs alone), on CPUs those of each process by themselves.
"""

import math
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pagoda.device import autocast
from pagoda.errors import BadInput
from pagoda.files import replacing
from pagoda.maths.randomness import generator
from pagoda.memory import is_out_of_memory
from pagoda.nets.architectures import build_seeded
from pagoda.nets.group import ALONE, Group
from pagoda.nets.model import BaseClassifier, Identity
from pagoda.nets.objectives import Objective
from pagoda.nets.objectives import make as make_objective
from pagoda.nets.optimisers import RATES, make

KINDS = ("optimiser", "schedule")
COUNTERS = ("done", "seconds", "history", "totals")
"""What a checkpoint holds beside the states of the network, the optimisers and the schedules."""


class Training:
    """A network, its optimisers and their schedules, and where they stand.

    `done` counts steps; `history` has a row an epoch; `seconds` is the time that the steps took.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        device: torch.device,
        batch: int,
        steps_an_epoch: int,
        epochs: int,
        optimiser: dict,
        label_smoothing: float = 0.0,
        label: str = "train",
        group: Group = ALONE,
    ):
        """Build the network that `identity` names, with weights drawn from its seed, at step 0.

        Args:
            identity: architecture, objective, normalisation, seed, precision, micro-batch.
            device: where it trains.
            batch: pictures a step, at most.
            steps_an_epoch: steps that make an epoch, >= 1.
            epochs: passes over the training pictures, >= 1.
            optimiser: what `optimisers.make` takes: a name and values.
            label_smoothing: share of the target that is spread over all classes, 0 <= it < 1.
            label: its name in errors.
            group: the processes that share each batch.

        Raises:
            BadInput: where they cannot share it equally, or the optimiser cannot take the network.

        """
        self.identity, self.device, self.steps_an_epoch, self.label = identity, device, steps_an_epoch, label
        self.total, self.optimiser = epochs * steps_an_epoch, optimiser
        self.group, self.micro_batch = group, identity.micro_batch or batch
        for name, size in (("batch", batch), ("micro_batch", self.micro_batch)):
            if size % group.of:
                raise BadInput(f"{name} is {size}: must be a multiple of {group.of}, the processes that share it")
        self.objective = make_objective(**identity.objective)
        network = build_seeded(identity.seed, identity.architecture, len(identity.classes), identity.channels)
        if group.of > 1 and device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
        self.classifier = BaseClassifier.of(network, identity)
        self.classifier.to(device, memory_format=torch.channels_last)
        self.shared: nn.Module = self.classifier  # the same network; its gradients are those of all processes
        if group.of > 1:
            self.shared = DistributedDataParallel(self.classifier)
        self.statistics = [one for one in network.buffers() if one.is_floating_point()]  # batch norm's
        self.label_smoothing, self.optimisers = label_smoothing, make(optimiser, network, self.total)
        self.done, self.seconds, self.history = 0, 0.0, []
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)  # of this epoch: loss, hits, pictures

    def whiten(self, pictures: Tensor) -> None:
        """Fit the network's stem, where it has one that whitens, to pictures [B, C, H, W] in [0, 1] and the noise."""
        if hasattr(self.classifier.network, "whiten"):
            x, sigma = pictures.to(self.device), self.objective.values.get("sigma", 0)
            mean, std = self.classifier.mean, self.classifier.std
            self.classifier.network.whiten((x - mean) / std, (sigma / std.flatten()) ** 2)

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all."""
        state = {name: getattr(self, name) for name in COUNTERS}
        with replacing(path) as beside:
            torch.save(state | {name: part.state_dict() for name, part in self._parts().items()}, beside)

    def _parts(self) -> dict:
        pairs = enumerate(self.optimisers)
        parts = {f"{kind} {number}": part for number, pair in pairs for kind, part in zip(KINDS, pair, strict=True)}
        return {"network": self.classifier.network} | parts

    def restore(self, path: Path) -> None:
        """Go on from the checkpoint at `path`, which the first process reads, if there is one.

        Raises:
            BadInput: where it is damaged.

        """
        state = None
        if self.group.leads and path.is_file():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # of zip, of pickle, of PyTorch
                said = " ".join(str(error).split())[:200]
                raise BadInput(f"the checkpoint {path} is damaged: remove it to train from scratch ({said})") from None
        state = self.group.of_the_first(state)
        if state is None:
            return
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.totals = self.totals.to(self.device)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def step(self, x: Tensor, y: Tensor, count: int | None = None) -> None:
        """Take one step on a batch of `count` pictures; None: on `x` alone.

        They go through the network in parts of `micro_batch`, over all processes.

        Args:
            x: this process's rows of the batch, [B, C, H, W] in [0, 1], B >= 0.
            y: their labels, int64 [B].
            count: pictures of the whole batch.

        Raises:
            BadInput: where memory does not suffice for a part.

        """
        count = len(y) if count is None else count
        source = generator(self.device, self.identity.seed, "perturb", self.done)
        x = x.contiguous(memory_format=torch.channels_last)
        objective = self.objective.in_epoch(self.done // self.steps_an_epoch)
        drawn = [part[self.group.share] for part in objective.draw(x, source, count)]
        self.classifier.zero_grad(set_to_none=True)
        sums = torch.zeros_like(self.totals)
        try:
            for end in range(self.micro_batch, count + self.micro_batch, self.micro_batch):
                rows = slice((end - self.micro_batch) // self.group.of, end // self.group.of)
                # Gradients add up; the processes meet at the last part.
                with nullcontext() if end >= count or self.group.of == 1 else self.shared.no_sync():
                    sums += self._add_gradient(objective, *(one[rows] for one in (x, y, *drawn)), count=count)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BadInput(
                f"{self.label}: memory does not suffice for {self.micro_batch} pictures at once: set a smaller "
                "micro_batch; it makes another network, for batch norm normalises each such part "
                f"({(str(error).splitlines() or ['out of memory'])[0]})"
            ) from None
        self._share(sums, len(y) / count)
        for optimiser, schedule in self.optimisers:
            optimiser.step()
            schedule.step()
        self.done += 1
        self.totals += sums

    def _add_gradient(self, objective: Objective, x: Tensor, y: Tensor, *drawn: Tensor, count: int) -> Tensor:
        """Add the gradient on some pictures of a batch of `count`; return loss (summed), hits and pictures.

        A process with no picture takes part with a loss of 0: the others wait for it.
        """
        weight = self.group.of * len(y) / count  # the mean over processes is that over pictures
        with autocast(self.identity.precision, self.device):
            if len(y):
                x, y = objective.perturb(self.classifier, x, y, drawn)
            logits = self.shared(x).float()
        loss = objective.loss(logits, y, x, drawn, self.label_smoothing) if len(y) else logits.sum()
        (weight * loss).backward()
        hits = (logits.detach().argmax(dim=1) == y).sum()
        return torch.stack([loss.detach() * len(y), hits, hits.new_tensor(len(y))]).double()

    def _share(self, sums: Tensor, fraction: float) -> None:
        """Have each process hold the whole batch's `sums` and the mean over its rows of the running statistics.

        `fraction` is this process's part of the rows. DistributedDataParallel would have the first process's statistics
        alone, and where one goes on from a checkpoint, attacks on the others' networks would be other ones.
        """
        if self.group.of > 1:
            held = [sums, *self.statistics]
            flat = torch.cat([sums, *(fraction * one.double().flatten() for one in self.statistics)])
            for one, shared in zip(held, self.group.sum(flat).split([one.numel() for one in held]), strict=True):
                one.copy_(shared.view_as(one))

    def end_epoch(self) -> dict:
        """Append the epoch that ends here to the history and return its row.

        Raises:
            BadInput: where the loss is not finite.

        """
        loss, hits, count = self.totals.tolist()
        self.totals.zero_()
        epoch = self.done // self.steps_an_epoch
        if not math.isfinite(loss):
            rates = (f"{name} {self.optimiser[name]:g}" for name in RATES if name in self.optimiser)
            raise BadInput(f"the loss is {loss} in epoch {epoch}: {' or '.join(rates)} is too high")
        row = {"epoch": epoch, "learning_rate": self.optimisers[0][1].get_last_lr()[0], "loss": loss / count}
        self.history.append(row | {"accuracy": hits / count, "seconds": round(self.seconds, 3)})
        return self.history[-1]
