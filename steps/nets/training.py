"""A training under way: the network, its optimiser and schedule, and where it stands; one SGD step at a time."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from steps.maths.randomness import generator
from steps.nets.architectures import build_seeded
from steps.nets.model import BaseClassifier, Identity
from steps.nets.objectives import Objective, draw, perturb
from steps.run.device import autocast
from steps.run.errors import BadInput


class Training:
    """SGD with Nesterov momentum and a one-cycle schedule (Smith & Topin 2018, arXiv 1708.07120).

    `done` counts steps; `history` has a row an epoch; `seconds` is the time that the steps took.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        device: torch.device,
        steps_an_epoch: int,
        epochs: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
    ):
        """Build the network that `identity` names, with weights drawn from its seed, at step 0.

        Args:
            identity: architecture, objective, normalisation, seed, precision.
            device: where it trains.
            steps_an_epoch: steps that make an epoch, >= 1.
            epochs: passes over the training pictures, >= 1.
            learning_rate: peak of the schedule.
            momentum: of SGD.
            weight_decay: L2 penalty on the weights.

        """
        self.identity, self.device, self.steps_an_epoch = identity, device, steps_an_epoch
        self.total, self.peak = epochs * steps_an_epoch, learning_rate
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

    def step(self, x: Tensor, y: Tensor) -> None:
        """Take one SGD step on the pictures `x`, [B, C, H, W] in [0, 1], with labels `y`, int64 [B]."""
        source = generator(self.device, self.identity.seed, "perturb", self.done)
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast(self.identity.precision, self.device):
            objective = self.objective.in_epoch(self.done // self.steps_an_epoch)
            x, y = perturb(objective, self.classifier, x, y, draw(objective, x, source))
            logits = self.classifier(x).float()
        loss = F.cross_entropy(logits, y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        hits = (logits.detach().argmax(dim=1) == y).sum()
        self.totals += torch.stack([loss.detach() * len(y), hits, hits.new_tensor(len(y))]).double()

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
