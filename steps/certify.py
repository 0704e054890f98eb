"""certify: a base classifier and a noise level -> a certificate for every k-th test image, as a table.

CERTIFY of Cohen et al. 2019 (arXiv 1902.02918) with fixed n. The table is tab-separated, one row an image, with the
columns that public analyses of that log format read (idx label predict radius correct time), then successes, draws
and lower. It is written row by row to ``*.partial.tsv``; a rerun after an interruption goes on behind the last whole
row. ``*.json`` beside it says how it was made.
"""

import hashlib
import json
import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch

from steps.data.dataset import Split
from steps.maths.smoothing import certify
from steps.nets.model import Loaded, check_fits, load_model
from steps.run.command import main, option
from steps.run.device import pick_device
from steps.run.errors import BadInput
from steps.run.files import write_text
from steps.run.fingerprint import fingerprint
from steps.run.lock import sole_writer
from steps.run.log import logger
from steps.run.progress import Progress

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time", "successes", "draws", "lower")


@dataclass(frozen=True)
class Config:
    """Certify test images with the smoothed classifier that a base classifier and a noise level make."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where the table goes (.tsv); a .json beside it says how it was made")
    sigma: float = option("standard deviation of the smoothing noise, in pixel values")
    images: int = option("how many test images, spread evenly over the split")
    n0: int = option("draws that select the class")
    n: int = option("fresh draws that bound its probability")
    alpha: float = option("chance that a certificate is wrong, in (0, 1)")
    batch: int = option("noisy images at once: speed and memory only", default=250)
    seed: int = option("of the noise", default=0)
    shard: str = option("i/k: only every k-th of the images, from the i-th", default="1/1")


def run(config: Config) -> Path:
    """Certify and return the path of the table. Raises BadInput, naming the image where one is at fault."""
    _check(config)
    with sole_writer(config.out):
        return _run(config)


def _run(config: Config) -> Path:
    device = pick_device()
    model = load_model(config.model, device)
    test = Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    places = _shard(test.every(config.images), config.shard)
    facts = _facts(config, model, test, device)
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    partial = config.out.with_name(f"{config.out.stem}.{identity}.partial.tsv")
    done = recover(partial, places)
    label = f"certify {config.model.parent.name} sigma={config.sigma:g}"
    if done:
        logger.info("%s: goes on behind %d whole rows of %s", label, done, partial)
    progress = Progress(label, len(places), "images", done)
    try:
        with partial.open("a", encoding="utf-8") as table:
            for place in places[done:]:
                table.write("\t".join(map(str, _row(config, model, test, place, device))) + "\n")
                table.flush()
                os.fsync(table.fileno())
                progress.advance()
    except OSError as error:
        raise BadInput(f"cannot write {partial}: {error.strerror} (its whole rows are kept for the next run)") from None
    write_text(config.out.with_suffix(".json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    partial.replace(config.out)
    return config.out


def recover(partial: Path, places: list[int]) -> int:
    """Cut a table that an interruption left behind its last whole row; return how many rows it holds.

    Writes the header where there is no table yet.

    Args:
        partial: path of the table.
        places: the images that it should hold, in order.

    """
    header = "\t".join(COLUMNS) + "\n"
    lines = partial.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if partial.is_file() else []
    whole = 0
    if lines and lines[0] == header:
        for line, place in zip(lines[1:], places, strict=False):
            fields = line.split("\t")
            if len(fields) != len(COLUMNS) or fields[0] != str(place) or not line.endswith("\n"):
                break
            whole += 1
    write_text(partial, "".join([header, *lines[1 : 1 + whole]]))
    return whole


def _row(config: Config, model: Loaded, test: Split, place: int, device: torch.device) -> tuple:
    began = time.perf_counter()
    label = int(test.labels[place])
    try:
        with torch.inference_mode():
            found = certify(
                model.classifier,
                test.images([place])[0].to(device),
                sigma=config.sigma,
                n0=config.n0,
                n=config.n,
                alpha=config.alpha,
                classes=len(model.identity.classes),
                batch=config.batch,
                key=(config.seed, "certify", config.sigma, place),
            )
    except FloatingPointError as error:
        raise BadInput(
            f"test image {place} at sigma {config.sigma:g}: {error}; is {config.model} diverged? "
            "The rows before it are kept"
        ) from None
    taken = timedelta(seconds=time.perf_counter() - began)
    correct = int(found.prediction == label)
    return (
        place,
        label,
        found.prediction,
        found.radius,
        correct,
        taken,
        found.successes,
        found.draws,
        found.lower,
    )


def _facts(config: Config, model: Loaded, test: Split, device: torch.device) -> dict:
    return {
        "model": config.model.parent.name,
        "model_hash": model.hash,
        "sigma": config.sigma,
        "images": config.images,
        "shard": config.shard,
        "n0": config.n0,
        "n": config.n,
        "alpha": config.alpha,
        "seed": config.seed,
        "device": device.type,
        "precision": "float32",
        "data": test.description.fingerprint,
        "code": fingerprint("steps.certify"),
    }


def _check(config: Config) -> None:
    if not 0 < config.sigma < float("inf"):
        raise BadInput(f"sigma is {config.sigma:g}: a smoothed classifier needs noise, sigma > 0")
    if not 0 < config.alpha < 1:
        raise BadInput(f"alpha is {config.alpha:g}: must be above 0 and below 1")
    for name in ("images", "n0", "n", "batch"):
        if getattr(config, name) < 1:
            raise BadInput(f"{name} is {getattr(config, name)}: must be at least 1")


def _shard(places: list[int], shard: str) -> list[int]:
    try:
        first, of = map(int, shard.split("/"))
        if not 1 <= first <= of:
            raise ValueError
    except ValueError:
        raise BadInput(f"shard is {shard!r}: must be i/k with 1 <= i <= k, e.g. 1/4") from None
    return places[first - 1 :: of]


if __name__ == "__main__":
    main("certify", Config, run)
