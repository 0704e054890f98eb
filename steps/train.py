"""train: a dataset -> a base classifier, under an objective (standard, gaussian, adversarial, smoothadv).

Writes ``model.safetensors``, ``history.csv`` (a row an epoch) and ``summary.json``. Interrupted at any moment, the
same command goes on from its last checkpoint and ends with the same network: every draw is keyed by its place in
the training, not by what was drawn before.
"""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from steps.data.batches import Augmentation, batches, epoch_order, stream
from steps.data.dataset import Description, Split
from steps.maths.confidence import interval
from steps.maths.randomness import generator
from steps.nets.model import Identity, save_model
from steps.nets.objectives import Objective, draw, perturb
from steps.nets.resume import Checkpoints
from steps.nets.training import Training
from steps.run.command import main, option
from steps.run.device import pick_device, pick_precision
from steps.run.errors import BadInput
from steps.run.files import write_text
from steps.run.fingerprint import fingerprint
from steps.run.lock import sole_writer
from steps.run.log import logger
from steps.run.progress import Progress

PERTURBED = {
    "gaussian": ("noisy_accuracy", "gaussian"),
    "adversarial": ("adversarial_accuracy", "adversarial"),
    "smoothadv": ("noisy_accuracy", "gaussian"),
}
"""By training objective: what the accuracy under perturbation is called in ``summary.json``, and which it is under."""


@dataclass(frozen=True)
class Config:
    """Train a base classifier with SGD and a one-cycle schedule."""

    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: str = option("fast_resnet, resnet20, resnet110 or resnet50")
    objective: str = option("standard, gaussian, adversarial or smoothadv")
    epochs: int = option("passes over the training pictures")
    batch: int = option("pictures a step")
    learning_rate: float = option("peak of the one-cycle schedule")
    weight_decay: float = option("L2 penalty on the weights", default=5e-4)
    momentum: float = option("of SGD, at the schedule's start", default=0.9)
    width: int | None = option("channels of fast_resnet's stem", default=None)
    sigma: float = option("gaussian, smoothadv: standard deviation of the noise, in pixel values", default=0.0)
    epsilon: float = option("adversarial, smoothadv: L2 radius, in pixel values", default=0.0)
    attack_steps: int = option("adversarial, smoothadv: steps of the attack", default=0)
    attack_step: float = option("adversarial, smoothadv: length of a step, L2, in pixel values", default=0.0)
    draws: int = option("smoothadv: m, noise draws of a picture", default=1)
    warmup: int = option("smoothadv: epochs over which epsilon and step grow to the whole", default=0)
    flip: bool = option("mirror half of the training pictures", default=False)
    shift: int = option("move training pictures by up to so many pixels each way", default=0)
    crop: bool = option("random crops of 8-100 %% of the area (pictures that are files)", default=False)
    precision: str = option("auto, float32 or bfloat16, of matrix products", default="auto")
    seed: int = option("of weights, order, augmentation and noise", default=0)
    workers: int = option("processes that decode pictures that are files", default=0)
    checkpoint_seconds: float = option("seconds between checkpoints: what an interruption costs at most", default=30.0)


def run(config: Config) -> dict:
    """Train, write the model and return its summary. Raises BadInput on values that make no training."""
    _check(config)
    with sole_writer(config.out):
        return _run(config)


def _run(config: Config) -> dict:
    device = pick_device()
    pictures = Split(config.data, "train")
    identity = _identity(config, pictures.description, pick_precision(config.precision, device))
    training = Training(
        identity,
        device=device,
        steps_an_epoch=math.ceil(len(pictures) / config.batch),
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
    )
    label = f"train {config.out.parent.name}"
    logger.info(
        "%s: %s, %s, %d pictures, %s",
        *(label, config.architecture, identity.objective, len(pictures), identity.precision),
    )
    checkpoints = Checkpoints(config.out.with_name("checkpoints"), _decisive(config, identity))
    if (state := checkpoints.load()) is not None:
        training.restore(state)
        logger.info("%s: goes on from step %d, %.0f s in", label, training.done, training.seconds)
    _fit(config, training, pictures, checkpoints, Progress(label, training.total, "steps", training.done))
    summary = _summary(config, training, Split(config.data, "test"))
    save_model(config.out, training.classifier.network, identity)
    write_text(config.out.with_name("history.csv"), _table(training.history))
    write_text(config.out.with_name("summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    # The last one stays: should these files be lost or half written, the same command makes them again in seconds.
    checkpoints.keep_newest()
    logger.info("%s: %s", label, ", ".join(f"{k} {v:.3f}" for k, v in summary.items() if k.endswith("accuracy")))
    return summary


def _check(config: Config) -> None:
    for name in ("epochs", "batch"):
        if getattr(config, name) < 1:
            raise BadInput(f"{name} is {getattr(config, name)}: must be at least 1")
    if config.warmup < 0:
        raise BadInput(f"warmup is {config.warmup}: must be 0 or above")
    for name in Objective(config.objective).values():
        if name not in ("name", "warmup") and not 0 < getattr(config, name) < math.inf:
            raise BadInput(f"{name} is {getattr(config, name):g}: objective {config.objective} needs it above 0")


def _identity(config: Config, data: Description, precision: str) -> Identity:
    values = (config.sigma, config.epsilon, config.attack_steps, config.attack_step, config.draws, config.warmup)
    return Identity(
        architecture=config.architecture,
        options={} if config.width is None else {"width": config.width},
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        mean=data.mean,
        std=data.std,
        objective=Objective(config.objective, *values).values(),
        seed=config.seed,
        precision=precision,
        data=data.fingerprint,
        code=fingerprint("steps.train"),
    )


def _decisive(config: Config, identity: Identity) -> str:
    """Return a short hash of all that decides the network: a checkpoint of anything else is not this training's."""
    passing = ("data", "out", "workers", "checkpoint_seconds")
    told = {key: value for key, value in vars(config).items() if key not in passing} | asdict(identity)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _fit(config: Config, training: Training, pictures: Split, checkpoints: Checkpoints, progress: Progress) -> None:
    """Train to the end; told to stop, save a checkpoint and exit."""
    told: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: told.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    saved = now = time.monotonic()
    training.classifier.train()
    try:
        for x, y in _to_the_end(config, training, pictures):
            training.step(x, y)
            before, now = now, time.monotonic()
            training.seconds += now - before
            note = ""
            if training.done % training.steps_an_epoch == 0:
                row = training.end_epoch()
                note = f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.3f}"
            progress.advance(note=note)
            if told:
                break
            if now - saved > config.checkpoint_seconds:
                checkpoints.save(training.state())
                saved = time.monotonic()
    except RuntimeError:
        # A worker process that the same signal stopped: this step may be half done, so it is not saved.
        if told:
            logger.error("told to stop: the same command goes on from the last checkpoint")
            sys.exit(128 + told[0])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    checkpoints.save(training.state())
    if told:
        logger.error("told to stop: checkpoint saved at step %d; the same command goes on", training.done)
        sys.exit(128 + told[0])


def _to_the_end(config: Config, training: Training, pictures: Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield the batches that are left."""
    return stream(
        pictures,
        functools.partial(epoch_order, len(pictures), config.batch, config.seed),
        device=training.device,
        augmentation=Augmentation(config.flip, config.shift, config.crop),
        seed=config.seed,
        first=training.done,
        steps=training.total,
        workers=config.workers,
    )


def _summary(config: Config, training: Training, test: Split) -> dict:
    clean, n = _hits(config, training, test, Objective("standard")), len(test)
    summary = {"clean_accuracy": clean / n, "clean_accuracy_95": interval(clean, n)}
    if config.objective in PERTURBED:
        name, under = PERTURBED[config.objective]
        hits = _hits(config, training, test, dataclasses.replace(training.objective, name=under))
        summary |= {name: hits / n, f"{name}_95": interval(hits, n)}
    return summary | {
        "n": n,
        "objective": training.identity.objective,
        "architecture": config.architecture,
        "parameters": sum(p.numel() for p in training.classifier.parameters()),
        "epochs": config.epochs,
        "seconds": round(training.seconds, 2),
        "device": training.device.type if training.device.type == "cpu" else torch.cuda.get_device_name(),
        "precision": training.identity.precision,
    }


def _hits(config: Config, training: Training, test: Split, objective: Objective) -> int:
    """Count the test pictures classified correctly, in float32, under an objective's perturbation."""
    classifier = training.classifier.eval()
    order = list(torch.arange(len(test)).split(config.batch))
    hits = 0
    for number, (x, y) in enumerate(batches(test, order, device=training.device, workers=config.workers)):
        drawn = draw(objective, x, generator(training.device, config.seed, "evaluate", number))
        x, y = perturb(objective, classifier, x, y, drawn)
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
