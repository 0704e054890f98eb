"""train: a dataset -> a base classifier, under an objective (standard, gaussian, adversarial, smoothadv).

Writes ``model.safetensors``, ``history.csv`` (a row an epoch) and ``summary.json``. Interrupted at any moment, the
same command goes on from its last checkpoint and ends with the same network: every draw is keyed by its place in
the training, not by what was drawn before.

On several GPUs (``torchrun --nproc-per-node=8 -m -- steps.train ...``), each process takes an equal share of every
batch; the first writes the files.
"""

import csv
import functools
import hashlib
import io
import json
import math
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pagoda.data.batches import Augmentation, epoch_order, stream
from pagoda.data.dataset import Split
from pagoda.device import pick_device, pick_precision
from pagoda.errors import BadInput
from pagoda.files import write_text
from pagoda.log import Progress, logger
from pagoda.nets.evaluation import accuracies
from pagoda.nets.group import Group, joined
from pagoda.nets.model import Identity, save_model
from pagoda.nets.training import Training
from pagoda.run.command import main, option
from pagoda.run.fingerprint import factory_fingerprint, fingerprint
from pagoda.run.lock import sole_writer
from pagoda.run.settings import NEEDS


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
    micro_batch: int = option(
        "pictures that go through the network at once, which batch norm normalises together (0: the whole batch)",
        default=0,
    )


def run(config: Config) -> dict:
    """Train, write the model and return its summary. Raises BadInput on values that make no training."""
    _check(config)
    with joined() as group, sole_writer(config.out) if group.leads else nullcontext():
        return _run(config, group)


def _run(config: Config, group: Group) -> dict:
    device, label = pick_device(), f"train {config.out.parent.name}"
    pictures = Split(config.data, "train")
    architecture = _architecture(config)
    identity = Identity.of(
        pictures.description,
        architecture=architecture,
        objective=_objective(config),
        seed=config.seed,
        precision=pick_precision(config.precision, device),
        code=fingerprint("steps.train") + factory_fingerprint(architecture),
        micro_batch=config.micro_batch,
    )
    training = Training(
        identity,
        device=device,
        batch=config.batch,
        steps_an_epoch=math.ceil(len(pictures) / config.batch),
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        label=label,
        group=group,
    )
    logger.info(
        "%s: %s, %s, %d pictures, %s, %d processes",
        *(label, identity.architecture, identity.objective, len(pictures), identity.precision, group.of),
    )
    checkpoint = config.out.with_name("checkpoints") / f"{_decisive(config, identity)}.checkpoint"
    training.restore(checkpoint)
    if training.done:
        logger.info("%s: goes on from step %d, %.0f s in", label, training.done, training.seconds)
    _fit(config, training, pictures, checkpoint)
    summary = _summary(config, training)
    if group.leads:
        save_model(config.out, training.classifier.network, identity)
        write_text(config.out.with_name("history.csv"), _table(training.history))
        write_text(config.out.with_name("summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        # The last one stays: should these files be lost or half written, the same command makes them again in seconds.
        for other in set(checkpoint.parent.glob("*.checkpoint")) - {checkpoint}:
            other.unlink()
    logger.info("%s: %s", label, ", ".join(f"{k} {v:.3f}" for k, v in summary.items() if k.endswith("accuracy")))
    return summary


def _check(config: Config) -> None:
    for name in ("epochs", "batch"):
        if getattr(config, name) < 1:
            raise BadInput(f"{name} is {getattr(config, name)}: must be at least 1")
    for name in ("warmup", "micro_batch"):
        if getattr(config, name) < 0:
            raise BadInput(f"{name} is {getattr(config, name)}: must be 0 or above")
    for name, value in _objective(config).items():
        if name not in ("name", "warmup") and not 0 < value < math.inf:
            raise BadInput(f"{name} is {value:g}: objective {config.objective} needs it above 0")


def _architecture(config: Config) -> dict:
    if isinstance(config.architecture, dict):
        return config.architecture
    return {"name": config.architecture} | ({} if config.width is None else {"width": config.width})


def _objective(config: Config) -> dict:
    return {"name": config.objective} | {name: getattr(config, name) for name in NEEDS.get(config.objective, ())}


def _decisive(config: Config, identity: Identity) -> str:
    """Return a short hash of all that decides the network: a checkpoint of anything else is not this training's."""
    speed = ("data", "out", "workers", "checkpoint_seconds")
    known = {key: value for key, value in vars(config).items() if key not in speed} | asdict(identity)
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:12]


def _fit(config: Config, training: Training, pictures: Split, checkpoint: Path) -> None:
    """Train to the end; told to stop, save a checkpoint and exit: all processes after the same step."""
    told: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: told.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    group, stop = training.group, 0
    progress = Progress(training.label, training.total, "steps", training.done)
    rows = stream(
        pictures,
        functools.partial(epoch_order, len(pictures), config.batch, config.seed),
        device=training.device,
        augmentation=Augmentation(config.flip, config.shift, config.crop),
        seed=config.seed,
        first=training.done,
        steps=training.total,
        share=group.share,
        workers=config.workers,
    )
    saved = now = time.monotonic()
    training.classifier.train()
    try:
        for x, y in rows:
            left = len(pictures) - config.batch * (training.done % training.steps_an_epoch)
            training.step(x, y, count=min(config.batch, left))
            before, now = now, time.monotonic()
            training.seconds += now - before
            note = ""
            if training.done % training.steps_an_epoch == 0:
                row = training.end_epoch()
                note = f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.3f}"
            progress.advance(note=note)
            if stop := group.largest(*told[:1] or [0]):
                break
            if group.leads and now - saved > config.checkpoint_seconds:
                training.save(checkpoint)
                saved = time.monotonic()
        if group.leads:
            training.save(checkpoint)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stop:
        if group.leads:
            logger.error("told to stop: checkpoint saved at step %d; the same command goes on", training.done)
        sys.exit(128 + stop)


def _summary(config: Config, training: Training) -> dict:
    tested = accuracies(
        training.classifier,
        Split(config.data, "test"),
        training.objective,
        device=training.device,
        batch=config.batch,
        seed=config.seed,
        label=training.label,
        workers=config.workers,
        group=training.group,
    )
    return tested | {
        "objective": training.identity.objective,
        "architecture": training.identity.architecture,
        "parameters": sum(p.numel() for p in training.classifier.parameters()),
        "epochs": config.epochs,
        "seconds": round(training.seconds, 2),
        "device": training.device.type if training.device.type == "cpu" else torch.cuda.get_device_name(),
        "precision": training.identity.precision,
        "processes": training.group.of,
    }


def _table(rows: list[dict]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


if __name__ == "__main__":
    main("train", Config, run)
