"""certify: a base classifier and a noise level -> a certificate for every k-th test image, as a table.

How many draws an image takes is the rule's matter (`pagoda/maths/certification.py`). The table is tab-separated, a row
an image: the columns that public analyses of the log format of Cohen et al. 2019 (arXiv 1902.02918) read (idx label
predict radius correct time), then successes, draws, lower, alpha, mode and stop. It is written row by row to
``*.partial.tsv``, the counts of images under way to ``*.partial.json``; a rerun goes on with both. ``*.json`` beside
the table says how it was made.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from datetime import timedelta
from glob import escape
from pathlib import Path

import torch

from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import write_text
from pagoda.log import Progress, logger
from pagoda.maths.certification import RADII, Count, Rule
from pagoda.maths.smoothing import Work, count_votes
from pagoda.memory import MicroBatch, in_parts
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.options import Certify, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint
from pagoda.run.lock import sole_writer

COLUMNS = (
    "idx",
    "label",
    "predict",
    "radius",
    "correct",
    "time",
    "successes",
    "draws",
    "lower",
    "alpha",
    "mode",
    "stop",
)
KEEP_SECONDS = 5
"""Between two times that the counts of images under way are kept."""


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
    test = Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    places = _shard(test.every(config.images), config.shard)
    facts = _facts(config, rule, model, test, device)
    identity = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]
    if _is_made(config.out, facts, identity):
        return config.out
    partial = config.out.with_name(f"{config.out.stem}.{identity}.partial.tsv")
    done = recover(partial, places)
    if done:
        logger.info("%s: goes on behind %d whole rows of %s", _label(config), done, partial)
    progress = Progress(_label(config), len(places), "images", done)
    try:
        with partial.open("a", encoding="utf-8") as table:
            for row in _rows(config, rule, model, test, places[done:], partial.with_suffix(".json"), device):
                table.write("\t".join(map(str, row)) + "\n")
                table.flush()
                os.fsync(table.fileno())
                progress.advance()
    except OSError as error:
        raise BadInput(f"cannot write {partial}: {error.strerror} (its whole rows are kept for the next run)") from None
    write_text(config.out.with_suffix(".json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    partial.replace(config.out)
    # With what a kill left of their writing.
    for path in [partial.with_suffix(".json"), *partial.parent.glob(f".{escape(partial.stem)}.*.new.*")]:
        path.unlink(missing_ok=True)
    return config.out


def _label(config: Config) -> str:
    return f"certify {config.model.parent.name} sigma={config.sigma:g}"


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


def _rows(
    config: Config, rule: Rule, model: Loaded, test: Split, places: list[int], kept: Path, device: torch.device
) -> Iterator[tuple]:
    """Yield the rows of `places`, in order; the counts of those under way are in `kept`."""
    classes, states = len(model.identity.classes), _read_states(kept)
    classifier = in_parts(model.classifier, MicroBatch(_label(config), config.batch))
    begun: dict[int, Work] = {}
    last = time.monotonic()

    def works() -> Iterator[Work]:
        for place in places:
            count = Count(rule, classes, int(test.labels[place]))
            state = states.get(str(place), {})
            if state:
                count.restore(state["count"])
            key = (config.seed, "certify", config.sigma, place)
            work = Work(test.images([place])[0].to(device), key, count, place, state.get("seconds", 0.0))
            begun[place] = work
            if not count.ended:
                yield work

    def keep(at_once: bool = False) -> None:
        nonlocal last
        if at_once or time.monotonic() - last > KEEP_SECONDS:
            states = {place: {"count": work.count.state(), "seconds": work.seconds} for place, work in begun.items()}
            write_text(kept, json.dumps(states))
            last = time.monotonic()

    waiting = iter(places)
    place = next(waiting, None)
    try:
        with torch.inference_mode():
            for _ in count_votes(classifier, works(), sigma=config.sigma, batch=config.batch, watch=keep):
                # Images end in any order; rows are written in that of the images.
                while place in begun and begun[place].count.ended:
                    yield _row(begun.pop(place))
                    place = next(waiting, None)
        while place is not None:  # had ended when an earlier run was interrupted
            yield _row(begun.pop(place))
            place = next(waiting, None)
    except FloatingPointError as error:
        message, work = error.args
        raise BadInput(
            f"test image {work.place} at sigma {config.sigma:g}: {message}; is {config.model} diverged? "
            "The rows before it are kept"
        ) from None
    finally:
        if begun:
            keep(at_once=True)


def _row(work: Work) -> tuple:
    found, rule = work.count.certificate, work.count.rule
    return (
        *(work.place, work.count.label, found.prediction, found.radius, int(found.prediction == work.count.label)),
        *(timedelta(seconds=work.seconds), found.successes, found.draws, found.lower, rule.alpha, rule.mode),
        found.stop,
    )


def _read_states(path: Path) -> dict[str, dict]:
    """Read the counts that an interruption left behind; none where there are none, or torn ones."""
    try:
        states = json.loads(path.read_text(encoding="utf-8"))
        return {place: state for place, state in states.items() if {"count", "seconds"} <= set(state)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


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
    grid = {"radii": list(rule.radii), "looks": [look for look, _ in rule.schedule], "label_aware": rule.label_aware}
    return {
        "model": config.model.parent.name,
        "model_hash": model.hash,
        "sigma": config.sigma,
        "images": config.images,
        "shard": config.shard,
        "mode": rule.mode,
        "n0": config.n0,
        "n": config.n,
        "alpha": config.alpha,
        **(grid if rule.mode == "grid" else {"tolerance": rule.tolerance} if rule.mode == "radius" else {}),
        "seed": config.seed,
        "device": device.type,
        "precision": model.identity.precision,
        "data": test.description.fingerprint,
        "code": fingerprint("steps.certify"),
    }


def _rule(config: Config) -> Rule:
    """Return the rule that the options make; warn of radii that it cannot certify."""
    rule = config.rule(config.sigma)
    if rule.mode == "grid" and (
        beyond := [radius for radius in config.radii if radius > rule.ceiling and config.radii != RADII]
    ):
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
