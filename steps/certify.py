"""certify: a base classifier and a noise level -> a certificate for every k-th test image, as a table.

How many draws an image takes is the rule's matter (`pagoda/maths/certification.py`). The table is tab-separated, a row
an image: the columns that public analyses of the log format of Cohen et al. 2019 (arXiv 1902.02918) read (idx label
predict radius correct time), then successes, draws, lower, alpha, mode and stop. It is written row by row to
``*.partial.tsv``; a rerun goes on behind the last whole row. ``*.json`` beside the table says how it was made.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import torch

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import write_json
from pagoda.log import Progress, logger
from pagoda.maths.certification import RADII, Count, Rule
from pagoda.maths.smoothing import Work, count_votes
from pagoda.memory import MicroBatch, in_parts
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.options import Certify, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint
from pagoda.run.lock import sole_writer

PUBLIC = ("idx", "label", "predict", "radius", "correct", "time")
BETWEEN = "sound, but pessimistic: drawing stopped where the radii of interest were decided; more radii cost draws"
"""What the facts of grid mode say of the certified accuracy at other radii."""
COLUMNS = (*PUBLIC, "successes", "draws", "lower", "alpha", "mode", "stop")


class Config(Certify):
    """Certify test images with the smoothed classifier that a base classifier and a noise level make."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where the table goes (.tsv); a .json beside it says how it was made")
    sigma: float = option("standard deviation of the smoothing noise", gt=0)
    shard: str = option("i/k: only every k-th of the images, from the i-th", "1/1")


def run(config: Config) -> Path:
    """Certify and return the path of the table. Raises BadInput, naming the image where one is at fault."""
    rule = _rule(config)
    with sole_writer(config.out):
        return _run(config, rule)


def _run(config: Config, rule: Rule) -> Path:
    device = pick_device()
    model = load_model(config.model, device)
    test = Split(config.data, "test", as_in_source=True)
    check_fits(config.model, model.identity, config.data, test.description)
    places = _shard(test.every(config.images, config.skip, config.first), config.shard)
    facts = _facts(config, rule, model, test, device)
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    if _is_made(config.out, facts, identity):
        return config.out
    partial = config.out.with_name(f"{config.out.stem}.{identity}.partial.tsv")
    try:
        done = recover(partial, places)
        if done:
            logger.info("%s: goes on behind %d whole rows of %s", _label(config), done, partial)
        progress = Progress(_label(config), len(places), "images", done)
        with partial.open("a", encoding="utf-8") as table:
            for row in _rows(config, rule, model, test, places[done:], device):
                table.write("\t".join(map(str, row)) + "\n")
                table.flush()
                os.fsync(table.fileno())
                progress.advance()
    except OSError as error:
        raise BadInput(f"cannot write {partial}: {error.strerror} (its whole rows are kept for the next run)") from None
    write_json(config.out.with_suffix(".json"), facts)
    partial.replace(config.out)
    return config.out


def _label(config: Config) -> str:
    return f"certify {config.model.parent.name} sigma={config.sigma:g}"


def recover(partial: Path, places: list[int]) -> int:
    """Cut a table of `places` that an interruption left behind its last whole row; return how many rows it holds.

    Writes the header where there is no table yet.
    """
    header = "\t".join(COLUMNS) + "\n"
    lines = partial.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if partial.is_file() else []
    whole = []
    for line, start in zip(lines, [header, *(f"{place}\t" for place in places)], strict=False):
        if not line.startswith(start) or line.count("\t") != header.count("\t") or not line.endswith("\n"):
            break
        whole.append(line)
    partial.parent.mkdir(parents=True, exist_ok=True)
    with partial.open("a", encoding="utf-8") as table:
        table.truncate(len("".join(whole).encode()))
        table.write("" if whole else header)
    return max(0, len(whole) - 1)


def _rows(
    config: Config, rule: Rule, model: Loaded, test: Split, places: list[int], device: torch.device
) -> Iterator[tuple]:
    """Yield the rows of `places`, in order."""
    classes, labels = len(model.identity.classes), test.labels.tolist()
    classifier = in_parts(model.classifier, MicroBatch(_label(config), config.batch))
    works = (
        Work(
            test.images([place])[0].to(device),
            key=(config.seed, "certify", config.sigma, place),
            count=Count(rule, classes, labels[place]),
            name=f"test image {place} at sigma {config.sigma:g}",
        )
        for place in places
    )
    counted = count_votes(classifier, works, sigma=config.sigma, batch=config.batch)
    try:
        for place, work in zip(places, counted, strict=True):
            found, label = work.count.certificate, labels[place]
            yield (
                *(place, label, found.prediction, found.radius, int(found.prediction == label)),
                *(timedelta(seconds=work.seconds), found.successes, found.draws, found.lower),
                *(rule.alpha, rule.mode, found.stop),
            )
    except FloatingPointError as error:
        raise BadInput(f"{error}; is {config.model} diverged? The rows before it are kept") from None


def _is_made(out: Path, facts: dict, identity: str) -> bool:
    """Tell whether the table is there, made as `facts` say. Raises BadInput where it was made in another way."""
    if not out.is_file():
        return False
    try:
        made = json.loads(out.with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        made = {}
    other = [f"{name} {made.get(name)!r}, not {facts[name]!r}" for name in facts if made.get(name) != facts[name]]
    if other:
        beside = out.with_name(f"{out.stem}.{identity}{out.suffix}")
        raise BadInput(f"{out} was made with {'; '.join(other)}: remove it, or write to {beside}")
    logger.info("%s is whole, and made with these values: nothing to do", out)
    return True


def _facts(config: Config, rule: Rule, model: Loaded, test: Split, device: torch.device) -> dict:
    grid = {"looks": list(rule.schedule), "between_radii": BETWEEN} if rule.mode == "grid" else {}
    return config.values(leave_out=("data", "out")) | grid | {
        "model": config.model.parent.name,
        "model_hash": model.hash,
        "device": device.type,
        "precision": model.identity.precision,
        "data": test.description.fingerprint,
        "code": fingerprint("steps.certify"),
    }  # fmt: skip


def _rule(config: Config) -> Rule:
    """Return the rule that the options make; warn of an n, or of radii, that cannot be certified."""
    rule = config.rule(config.sigma)
    if rule.warning:
        logger.warning(rule.warning)
    elif rule.mode == "grid" and config.radii != RADII and (beyond := [r for r in config.radii if r > rule.ceiling]):
        listed = ", ".join(f"{radius:g}" for radius in beyond)
        logger.warning("radii %s: above %.3f, the most that n=%d can certify here", listed, rule.ceiling, rule.n)
    return rule


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
