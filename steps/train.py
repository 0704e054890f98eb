"""train: a dataset -> a base classifier, under an objective (pagoda/nets/objectives).

It starts from random weights, or from another model's, imported or trained (``--init``).

Writes ``model.safetensors``, ``history.csv`` (a row an epoch) and ``summary.json``. Interrupted at any moment, the
same command goes on from its last checkpoint and ends with the same network: every draw is keyed by its place in
the training, not by what was drawn before.

On several GPUs (``torchrun --nproc-per-node=8 -m -- steps.train ...``), each process takes an equal share of every
batch; the first writes the files.
"""

import functools
import hashlib
import json
import math
import signal
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch

from pagoda.data.batches import Augmentation, epoch_order, stream
from pagoda.data.dataset import Description, Split
from pagoda.data.means import made_from_and_tested_on
from pagoda.device import pick_device, pick_precision
from pagoda.errors import BadInput
from pagoda.files import file_hash, write_json, write_text
from pagoda.log import Progress, logger
from pagoda.nets.evaluation import accuracies
from pagoda.nets.group import Group, joined
from pagoda.nets.model import Identity, check_fits, load_weights, read_identity, save_model
from pagoda.nets.training import Training
from pagoda.options import AnyModel, Architecture, JudgePictures, Train, option
from pagoda.run.command import main
from pagoda.run.fingerprint import factory_fingerprint, fingerprint
from pagoda.run.lock import sole_writer


class Config(Train, JudgePictures):
    """Train a base classifier."""

    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: Architecture = option("as in config.yaml: {name: airbench, widths: [64, 128, 256]}")
    model: AnyModel = option("as in config.yaml: {objective: gaussian, sigma: 0.5}")
    init: Path | None = option("model.safetensors whose weights, normalisation and denoiser it starts from", None)


def run(config: Config) -> dict:
    """Train, write the model and return its summary. Raises BadInput where it cannot go on."""
    with joined() as group, sole_writer(config.out) if group.leads else nullcontext():
        return _run(config, group)


def _run(config: Config, group: Group) -> dict:
    device, label = pick_device(), f"train {config.out.parent.name}"
    pictures, tested = made_from_and_tested_on(config.data, config.judge_fit, config.judge_held_out)
    if min(sides := pictures.description.sides) < config.architecture.smallest:
        raise BadInput(f"architecture: {config.architecture.too_small(min(sides))}")
    architecture = config.architecture.values()
    start = _start(config, pictures.description, architecture)
    identity = Identity.of(
        pictures.description,
        **start or {"architecture": architecture},
        objective=config.model.objective_values,
        seed=config.seed,
        precision=pick_precision(config.precision, device),
        code=fingerprint("steps.train") + factory_fingerprint(architecture),
        micro_batch=config.micro_batch,
    )
    training = Training(
        identity,
        device=device,
        steps_an_epoch=math.ceil(len(pictures) / config.batch),
        optimiser=config.optimiser.values(),
        **{name: getattr(config, name) for name in ("batch", "epochs", "label_smoothing")},
        label=label,
        group=group,
    )
    logger.info(
        "%s: %s, %s, %d pictures, %s, %d processes",
        *(label, identity.architecture, identity.objective, len(pictures), identity.precision, group.of),
    )
    # Named by a hash of all that decides the network: a checkpoint of anything else is not this training's.
    decisive = json.dumps(config.values(leave_out=("data", "out", "init")) | asdict(identity), sort_keys=True).encode()
    named = hashlib.sha256(decisive).hexdigest()[:12]
    checkpoint = config.out.with_name("checkpoints") / f"{named}.checkpoint"
    training.objective.fit(pictures, device)
    if start:
        load_weights(training.classifier.network, config.init, identity)
    training.restore(checkpoint)
    if not training.done and not start:
        training.whiten(pictures.images(pictures.every(max(1, 2_000_000 // math.prod(sides)))))
    elif training.done:
        logger.info("%s: goes on from step %d, %.0f s in", label, training.done, training.seconds)
    _fit(config, training, pictures, checkpoint)
    summary = _summary(config, training, tested)
    if group.leads:
        save_model(config.out, training.classifier.network, identity)
        lines = (training.history[0], *(row.values() for row in training.history))
        write_text(config.out.with_name("history.csv"), "".join(",".join(map(str, line)) + "\n" for line in lines))
        write_json(config.out.with_name("summary.json"), summary)
        # The last one stays: should these files be lost or half written, the same command makes them again in seconds.
        for other in set(checkpoint.parent.glob("*.checkpoint")) - {checkpoint}:
            other.unlink()
    logger.info("%s: %s", label, ", ".join(f"{k} {v:.3f}" for k, v in summary.items() if k.endswith("accuracy")))
    return summary


def _start(config: Config, data: Description, architecture: dict) -> dict:
    """Return what `Identity` says of the model that this one starts from; {} where it starts from random weights."""
    if config.init is None:
        return {}
    identity = read_identity(config.init)
    check_fits(config.init, identity, config.data, data)
    held = identity.architecture
    if architecture != (behind := held["network"] if held.get("name") == "denoised" else held):
        raise BadInput(f"architecture is {architecture}, but that of {config.init} is {behind}")
    same = {name: getattr(identity, name) for name in ("architecture", "mean", "std", "prepare", "outputs")}
    return same | {"init": file_hash(config.init)}


def _fit(config: Config, training: Training, pictures: Split, checkpoint: Path) -> None:
    """Train to the end; told to stop, save a checkpoint and exit: all processes after the same step."""
    told: list[int] = []
    signals = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # the last is srun's way
    previous = {number: signal.signal(number, lambda number, frame: told.append(number)) for number in signals}
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
        if stop:
            if group.leads:
                logger.error("told to stop: checkpoint saved at step %d; the same command goes on", training.done)
            sys.exit(128 + stop)
    finally:  # SLURM tells more than once
        for number, handler in previous.items():
            signal.signal(number, handler)


def _summary(config: Config, training: Training, pictures: Split) -> dict:
    tested = accuracies(
        training.classifier,
        pictures,
        training.objective,
        device=training.device,
        batch=config.batch,
        seed=config.seed,
        label=training.label,
        workers=config.workers,
        group=training.group,
    )
    under = tested.get("adversarial_accuracy_95", [0])[0]
    if training.group.leads and under > tested["clean_accuracy_95"][1]:
        logger.warning(
            "warning: %s is more accurate under its attack (%.3f) than without (%.3f): it reads the label from the "
            "attack (label leaking, Kurakin et al. 2017): more attack_steps of a shorter attack_step prevent that",
            *(training.label, tested["adversarial_accuracy"], tested["clean_accuracy"]),
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


if __name__ == "__main__":
    main("train", Config, run)
