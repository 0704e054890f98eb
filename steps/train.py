"""train: a dataset -> a base classifier, under an objective (standard, gaussian, adversarial, smoothadv).

Writes ``model.safetensors``, ``history.csv`` (a row an epoch) and ``summary.json``. Interrupted at any moment, the
same command goes on from its last checkpoint and ends with the same network: every draw is keyed by its place in
the training, not by what was drawn before.

On several GPUs (`--gpus`, `--nodes`, or under torchrun), each process takes an equal share of every batch; the first
writes the files.
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
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch

from pagoda.data.batches import Augmentation, epoch_order, stream
from pagoda.data.dataset import Description, Split
from pagoda.device import pick_device, pick_precision
from pagoda.errors import BadInput
from pagoda.files import write_text
from pagoda.log import Progress, logger
from pagoda.maths.confidence import interval
from pagoda.nets.evaluation import hits
from pagoda.nets.group import Group, joined
from pagoda.nets.model import Identity, save_model
from pagoda.nets.objectives import Objective
from pagoda.nets.resume import Checkpoints
from pagoda.nets.training import Training
from pagoda.options import AnyModel, Architecture, Train, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint
from pagoda.run.lock import sole_writer

PERTURBED = {
    "gaussian": ("noisy_accuracy", "gaussian"),
    "adversarial": ("adversarial_accuracy", "adversarial"),
    "smoothadv": ("noisy_accuracy", "gaussian"),
}
"""By training objective: what the accuracy under perturbation is called in ``summary.json``, and which it is under."""


class Config(Train):
    """Train a base classifier with SGD and a one-cycle schedule."""

    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: Architecture = option("as in config.yaml: {name: fast_resnet, width: 16}")
    model: AnyModel = option("as in config.yaml: {objective: gaussian, sigma: 0.5}")


def run(config: Config) -> dict:
    """Train, write the model and return its summary. Raises BadInput on values that make no training."""
    with joined() as group:
        _check_share(config.batch, group.of, f"{group.of} processes")
        with sole_writer(config.out) if group.leads else nullcontext():
            return _run(config, group)


def _run(config: Config, group: Group) -> dict:
    device = pick_device()
    pictures = Split(config.data, "train")
    identity = _identity(config, pictures.description, pick_precision(config.precision, device))
    label = f"train {config.out.parent.name}"
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
        "%s: %s, %s, %d pictures, %s%s",
        *(label, identity.architecture, identity.objective, len(pictures), identity.precision),
        f", {group.of} processes" if group.of > 1 else "",
    )
    checkpoints = Checkpoints(config.out.with_name("checkpoints"), _decisive(config, identity))
    if (state := checkpoints.load()) is not None:
        training.restore(state)
        logger.info("%s: goes on from step %d, %.0f s in", label, training.done, training.seconds)
    most, least = group.largest(training.done, -training.done)
    if most != -least:
        raise BadInput(
            f"{checkpoints.folder}: one process finds step {most} there, another step {-least}: it must lie on a file "
            "system that all nodes share"
        )
    _fit(config, training, pictures, checkpoints, Progress(label, training.total, "steps", training.done))
    summary = _summary(config, training, Split(config.data, "test"), label)
    if group.leads:
        save_model(config.out, training.classifier.network, identity)
        write_text(config.out.with_name("history.csv"), _table(training.history))
        write_text(config.out.with_name("summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        # The last one stays: should these files be lost or half written, the same command makes them again in seconds.
        checkpoints.keep_newest()
    logger.info("%s: %s", label, ", ".join(f"{k} {v:.3f}" for k, v in summary.items() if k.endswith("accuracy")))
    return summary


def _check_share(batch: int, processes: int, said: str) -> None:
    if batch % processes:
        raise BadInput(f"batch is {batch}, which {said} cannot share equally: it must be a multiple of {processes}")


def _identity(config: Config, data: Description, precision: str) -> Identity:
    architecture = config.architecture.values()
    return Identity(
        architecture=architecture.pop("name"),
        options=architecture,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        mean=data.mean,
        std=data.std,
        objective=config.model.objective_values,
        seed=config.seed,
        precision=precision,
        data=data.fingerprint,
        code=fingerprint("steps.train"),
    )


def _decisive(config: Config, identity: Identity) -> str:
    """Return a short hash of all that decides the network: a checkpoint of anything else is not this training's."""
    told = config.values(leave_out=("data", "out")) | asdict(identity)
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _fit(config: Config, training: Training, pictures: Split, checkpoints: Checkpoints, progress: Progress) -> None:
    """Train to the end; told to stop, save a checkpoint and exit: all processes after the same step."""
    told: list[int] = []
    previous = {
        number: signal.signal(number, lambda number, frame: told.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    group, stop = training.group, 0
    saved = now = time.monotonic()
    training.classifier.train()
    try:
        for x, y in _to_the_end(config, training, pictures):
            left = len(pictures) - config.batch * (training.done % training.steps_an_epoch)
            training.step(x, y, count=min(config.batch, left))
            before, now = now, time.monotonic()
            training.seconds += now - before
            note = ""
            if training.done % training.steps_an_epoch == 0:
                row = training.end_epoch()
                note = f"epoch {row['epoch']}: loss {row['loss']:.3f}, accuracy {row['accuracy']:.3f}"
            progress.advance(note=note)
            (stop,) = group.largest(*told[:1] or [0])
            if stop:
                break
            if group.leads and now - saved > config.checkpoint_seconds:
                checkpoints.save(training.state())
                saved = time.monotonic()
        if group.leads:
            checkpoints.save(training.state())
    except RuntimeError:
        # A worker process that the same signal stopped: this step may be half done, so it is not saved.
        if told:
            logger.error("told to stop: the same command goes on from the last checkpoint")
            sys.exit(128 + told[0])
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if stop:
        if group.leads:
            logger.error("told to stop: checkpoint saved at step %d; the same command goes on", training.done)
        sys.exit(128 + stop)


def _to_the_end(config: Config, training: Training, pictures: Split) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield this process's rows of the batches that are left."""
    return stream(
        pictures,
        functools.partial(epoch_order, len(pictures), config.batch, config.seed),
        device=training.device,
        augmentation=Augmentation(config.flip, config.shift, config.crop),
        seed=config.seed,
        first=training.done,
        steps=training.total,
        share=training.share,
        workers=config.workers,
    )


def _summary(config: Config, training: Training, test: Split, label: str) -> dict:
    def right(objective: Objective) -> int:
        how = {"device": training.device, "batch": config.batch, "seed": config.seed, "workers": config.workers}
        return hits(training.classifier, test, objective, **how, label=label, group=training.group)

    clean, n = right(Objective("standard")), len(test)
    summary = {"clean_accuracy": clean / n, "clean_accuracy_95": interval(clean, n)}
    if config.model.objective in PERTURBED:
        name, under = PERTURBED[config.model.objective]
        perturbed = right(dataclasses.replace(training.objective, name=under))
        summary |= {name: perturbed / n, f"{name}_95": interval(perturbed, n)}
    return (
        summary
        | {
            "n": n,
            "objective": training.identity.objective,
            "architecture": training.identity.architecture,
            "parameters": sum(p.numel() for p in training.classifier.parameters()),
            "epochs": config.epochs,
            "seconds": round(training.seconds, 2),
            "device": training.device.type if training.device.type == "cpu" else torch.cuda.get_device_name(),
            "precision": training.identity.precision,
        }
        | ({"processes": training.group.of} if training.group.of > 1 else {})
    )


def _table(rows: list[dict]) -> str:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


if __name__ == "__main__":
    main("train", Config, run)
