"""train: a dataset -> a base classifier, under an objective (standard, gaussian, adversarial).

Writes ``model.safetensors``, ``history.csv`` (a row an epoch) and ``summary.json``. Interrupted at any moment, the
same command goes on from its last checkpoint and ends with the same network: every draw is keyed by its place in
the training, not by what was drawn before.
"""

import csv
import hashlib
import io
import json
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from steps.data.batches import Augmentation, batches, epoch_order
from steps.data.dataset import Split
from steps.maths.confidence import interval
from steps.maths.randomness import generator
from steps.nets.architectures import build_seeded
from steps.nets.model import BaseClassifier, Identity, save_model
from steps.nets.objectives import Objective, perturb
from steps.nets.resume import Checkpoints
from steps.run.command import main, option
from steps.run.device import autocast, pick_device, pick_precision
from steps.run.errors import BadInput
from steps.run.files import write_text
from steps.run.fingerprint import fingerprint
from steps.run.log import logger
from steps.run.progress import Progress

PERTURBED = {"gaussian": "noisy_accuracy", "adversarial": "adversarial_accuracy"}
"""What accuracy under a training objective's own perturbation is called in ``summary.json``."""


@dataclass(frozen=True)
class Config:
    """Train a base classifier with SGD and a one-cycle schedule."""

    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: str = option("fast_resnet, resnet20, resnet110 or resnet50")
    objective: str = option("standard, gaussian or adversarial")
    epochs: int = option("passes over the training pictures")
    batch: int = option("pictures a step")
    learning_rate: float = option("peak of the one-cycle schedule")
    weight_decay: float = option("L2 penalty on the weights", default=5e-4)
    momentum: float = option("of SGD, at the schedule's start", default=0.9)
    width: int | None = option("channels of fast_resnet's stem", default=None)
    sigma: float = option("gaussian: standard deviation of the noise, in pixel values", default=0.0)
    epsilon: float = option("adversarial: L2 radius, in pixel values", default=0.0)
    attack_steps: int = option("adversarial: steps of the attack", default=0)
    attack_step: float = option("adversarial: length of a step, L2, in pixel values", default=0.0)
    flip: bool = option("mirror half of the training pictures", default=False)
    shift: int = option("move training pictures by up to so many pixels each way", default=0)
    crop: bool = option("random crops of 8-100 %% of the area (pictures that are files)", default=False)
    precision: str = option("auto, float32 or bfloat16, of matrix products", default="auto")
    seed: int = option("of weights, order, augmentation and noise", default=0)
    workers: int = option("processes that decode pictures that are files", default=0)
    checkpoint_seconds: float = option("seconds between checkpoints: what an interruption costs at most", default=30.0)


class Training:
    """A training under way: the network, its optimiser, and where it stands."""

    def __init__(self, config: Config, device: torch.device):
        """Build everything from the config, at step 0."""
        self.config, self.device = config, device
        self.train, self.test = Split(config.data, "train"), Split(config.data, "test")
        self.precision = pick_precision(config.precision, device)
        known = self.train.description
        self.objective = Objective(
            config.objective, config.sigma, config.epsilon, config.attack_steps, config.attack_step
        )
        self.identity = Identity(
            architecture=config.architecture,
            options={} if config.width is None else {"width": config.width},
            classes=known.classes,
            channels=known.channels,
            size=known.size,
            mean=known.mean,
            std=known.std,
            objective=self.objective.values(),
            seed=config.seed,
            precision=self.precision,
            data=known.fingerprint,
            code=fingerprint("steps.train"),
        )
        network = build_seeded(
            config.seed, config.architecture, len(known.classes), known.channels, **self.identity.options
        )
        self.classifier = BaseClassifier(network, known.mean, known.std)
        self.classifier.to(device, memory_format=torch.channels_last)
        self.steps_an_epoch = math.ceil(len(self.train) / config.batch)
        self.optimiser = torch.optim.SGD(
            self.classifier.parameters(),
            lr=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser,
            config.learning_rate,
            total_steps=config.epochs * self.steps_an_epoch,
            cycle_momentum=False,
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

    def step(self, x: torch.Tensor, y: torch.Tensor, epoch: int) -> None:
        """Take one SGD step on the pictures `x`, [B, C, H, W], with labels `y`, [B]."""
        source = generator(self.device, self.config.seed, "perturb", epoch, self.done)
        x = x.contiguous(memory_format=torch.channels_last)
        with autocast(self.precision, self.device):
            x = perturb(self.objective, self.classifier, x, y, source)
            logits = self.classifier(x).float()
        loss = F.cross_entropy(logits, y)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.schedule.step()
        self.done += 1
        hits = (logits.detach().argmax(dim=1) == y).sum()
        self.totals += torch.stack([loss.detach().double() * len(y), hits.double(), hits.new_tensor(len(y)).double()])

    def end_epoch(self, epoch: int) -> dict:
        """Append a row to the history and return it. Raises BadInput where the loss is not finite."""
        loss, hits, count = self.totals.tolist()
        self.totals.zero_()
        if not math.isfinite(loss):
            raise BadInput(
                f"the loss is {loss} in epoch {epoch + 1}: learning_rate {self.config.learning_rate:g} is too high for "
                f"{self.config.architecture}"
            )
        row = {
            "epoch": epoch + 1,
            "learning_rate": self.schedule.get_last_lr()[0],
            "loss": loss / count,
            "accuracy": hits / count,
            "seconds": round(self.seconds, 3),
        }
        self.history.append(row)
        return row


def run(config: Config) -> dict:
    """Train, write the model and return its summary. Raises BadInput on values that make no training."""
    _check(config)
    device = pick_device()
    training = Training(config, device)
    label = f"train {config.out.parent.name}"
    logger.info(
        "%s: %s, %s, %d pictures, %s",
        *(label, config.architecture, training.objective.values(), len(training.train), training.precision),
    )
    checkpoints = Checkpoints(config.out.with_name("checkpoints"), _identify(config, training))
    if (state := checkpoints.load()) is not None:
        training.restore(state)
        logger.info("%s: goes on from step %d, %.0f s in", label, training.done, training.seconds)
    _fit(config, training, checkpoints, Progress(label, _total(config, training), "steps", training.done))
    save_model(config.out, training.classifier.network, training.identity)
    write_text(config.out.with_name("history.csv"), _table(training.history))
    summary = _summary(config, training, device)
    write_text(config.out.with_name("summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    checkpoints.remove()
    logger.info("%s: %s", label, json.dumps({k: v for k, v in summary.items() if "accuracy" in k or k == "n"}))
    return summary


def _check(config: Config) -> None:
    for name in ("epochs", "batch"):
        if getattr(config, name) < 1:
            raise BadInput(f"{name} is {getattr(config, name)}: must be at least 1")
    used = Objective(config.objective).values()
    for name in used:
        if name != "name" and not 0 < getattr(config, name) < math.inf:
            raise BadInput(f"{name} is {getattr(config, name):g}: objective {config.objective} needs it above 0")


def _total(config: Config, training: Training) -> int:
    return config.epochs * training.steps_an_epoch


def _identify(config: Config, training: Training) -> str:
    told = {
        key: str(value)
        for key, value in vars(config).items()
        if key not in ("data", "out", "workers", "checkpoint_seconds")
    }
    told |= {"data": training.identity.data, "code": training.identity.code, "precision": training.precision}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _fit(config: Config, training: Training, checkpoints: Checkpoints, progress: Progress) -> None:
    """Train to the end, or save a checkpoint and exit when told to stop."""
    told: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: told.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    augmentation = Augmentation(config.flip, config.shift, config.crop)
    saved = began = time.monotonic()
    before = training.seconds
    training.classifier.train()
    try:
        while training.done < _total(config, training):
            epoch, first = divmod(training.done, training.steps_an_epoch)
            order = epoch_order(len(training.train), config.batch, config.seed, epoch)
            for x, y in batches(
                training.train,
                order,
                device=training.device,
                augmentation=augmentation,
                key=(config.seed, epoch),
                first=first,
                workers=config.workers,
            ):
                training.step(x, y, epoch)
                training.seconds = before + time.monotonic() - began
                note = ""
                if training.done % training.steps_an_epoch == 0:
                    row = training.end_epoch(epoch)
                    note = f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.3f}"
                progress.advance(note=note)
                if told or time.monotonic() - saved > config.checkpoint_seconds:
                    checkpoints.save(training.state())
                    saved = time.monotonic()
                if told:
                    logger.error("told to stop: checkpoint saved at step %d; the same command goes on", training.done)
                    sys.exit(128 + told[0])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _summary(config: Config, training: Training, device: torch.device) -> dict:
    clean = _hits(training, Objective("standard"))
    n = len(training.test)
    summary = {"clean_accuracy": clean / n, "clean_accuracy_95": interval(clean, n)}
    if name := PERTURBED.get(config.objective):
        hits = _hits(training, training.objective)
        summary |= {name: hits / n, f"{name}_95": interval(hits, n)}
    return summary | {
        "n": n,
        "objective": training.objective.values(),
        "architecture": config.architecture,
        "parameters": sum(p.numel() for p in training.classifier.parameters()),
        "epochs": config.epochs,
        "seconds": round(training.seconds, 2),
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(),
        "precision": training.precision,
    }


def _hits(training: Training, objective: Objective) -> int:
    """Count the test pictures classified correctly, in float32, under an objective's perturbation."""
    classifier = training.classifier.eval()
    order = list(torch.arange(len(training.test)).split(500))
    hits = 0
    for number, (x, y) in enumerate(
        batches(training.test, order, device=training.device, workers=training.config.workers)
    ):
        source = generator(training.device, training.config.seed, "evaluate", number)
        x = perturb(objective, classifier, x, y, source)
        with torch.no_grad():
            hits += int((classifier(x).argmax(dim=1) == y).sum())
    return hits


def _table(rows: list[dict]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


if __name__ == "__main__":
    main("train", Config, run)
