"""ascend: a view (a model and a smoothing noise level; 0 = unsmoothed), a target class and an epsilon -> pictures.

Projected L2 ascent on log p_t from the first test images of other classes (Kaur, Cohen & Lipton 2019,
arXiv 1910.08640), or from seeds with no source picture. Writes one ``.npz``: sources, ends, a few frames between, p_t
along the way and after.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pagoda.data.ascents import Ascent, Settings, write_ascent
from pagoda.data.dataset import Split
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.log import Progress
from pagoda.maths.ascent import ascend, log_score, split_half
from pagoda.maths.ball import norms
from pagoda.maths.noise import Noise
from pagoda.maths.seeds import class_seeds, noise_seeds
from pagoda.memory import MicroBatch
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.run.command import main, option
from pagoda.run.fingerprint import fingerprint

STARTS = ("images", "seeds", "noise")
"""The first test images of other classes; draws from the target class's Gaussian; uniform noise."""
FITTED = 1000
"""How many pictures of a class its Gaussian is fitted on, at most, where pictures are files."""


@dataclass(frozen=True)
class Config:
    """Ascend a target class's score from the first test images of other classes, or from seeds."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where the .npz goes")
    target: str = option("name of the target class")
    sigma: float = option("standard deviation of the smoothing noise, in pixel values; 0: unsmoothed")
    epsilon: float = option("radius of the ball around the source, L2, in pixel values")
    images: int = option("how many sources")
    steps: int = option("steps of ascent")
    step: float = option("length of a step, as a fraction of epsilon")
    draws: int = option("N, noise draws a step")
    check_draws: int = option("fresh draws for p_t before and after")
    frames: int = option("pictures kept along the way, the start and the end included", default=6)
    batch: int = option("noisy images at once: speed and memory only", default=256)
    start: str = option(f"what the sources are: {', '.join(STARTS)}", default="images")
    seed: int = option("of the noise", default=0)


def run(config: Config) -> Ascent:
    """Ascend, write the file and return what is in it. Raises BadInput on values out of range."""
    _check(config)
    device = pick_device()
    model = load_model(config.model, device)
    test = Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    classes = model.identity.classes
    if config.target not in classes:
        raise BadInput(f"class {config.target!r} is unknown: {config.data} has {', '.join(classes)}")
    number = classes.index(config.target)
    sources = _sources(config, test, number, device)
    name = f"ascend {config.model.parent.name} sigma={config.sigma:g} eps={config.epsilon:g} class={config.target}"
    # From the start where memory does not suffice: a file has one batch, the one that it would have had from the start.
    result = MicroBatch(name, config.batch).run(lambda batch: _ascend(config, model, test, sources, batch, name))
    write_ascent(config.out, result)
    return result


def _ascend(
    config: Config, model: Loaded, test: Split, sources: tuple[Tensor, Tensor, Tensor], batch: int, name: str
) -> Ascent:
    """Ascend from `sources` (pictures, numbers, labels), with at most `batch` noisy images at once."""
    source, index, label = sources
    base, number = model.classifier, model.identity.classes.index(config.target)
    target = torch.full((len(source),), number, device=source.device)
    noise = Noise(config.sigma, config.draws, batch, (config.seed, "ascend", config.sigma, config.target))
    check = replace(noise, draws=config.check_draws)
    progress = Progress(name, config.steps, "steps")
    try:
        found = ascend(
            base,
            source,
            target,
            noise,
            epsilon=config.epsilon,
            step=config.step * config.epsilon,
            steps=config.steps,
            frames=config.frames,
            watch=lambda done: progress.advance(),
        )
    except FloatingPointError as error:
        raise BadInput(f"{name}: {error}; is {config.model} diverged?") from None
    before = log_score(base, source, target, check.keyed("check", "before")).exp()
    after = log_score(base, found.end, target, check.keyed("check", "after")).exp()
    agreement = split_half(base, source, target, noise.keyed("split half"))
    return Ascent(
        settings=Settings(
            model=config.model.parent.name,
            model_hash=model.hash,
            objective=str(model.identity.objective["name"]),
            sigma=config.sigma,
            target=config.target,
            epsilon=config.epsilon,
            step=config.step * config.epsilon,
            steps=config.steps,
            draws=noise.count,
            check_draws=check.count,
            seed=config.seed,
            classes=model.identity.classes,
            device=source.device.type,
            data=test.description.fingerprint,
            code=fingerprint("steps.ascend"),
            start=config.start,
        ),
        source=source.cpu().numpy(),
        end=found.end.cpu().numpy(),
        frames=found.frames.numpy(),
        frame_steps=np.array(found.frame_steps),
        index=index.numpy(),
        label=label.numpy(),
        p_path=found.p_path.cpu().numpy(),
        p_before=before.cpu().numpy(),
        p_after=after.cpu().numpy(),
        norm=norms(found.end - source).cpu().numpy(),
        split_half=agreement.cpu().numpy(),
    )


def _sources(config: Config, test: Split, number: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sources, [K, C, H, W], their numbers and their labels, [K]."""
    if config.start == "images":
        places = torch.tensor(test.first_of_others(number, config.images))
        return test.images(places).to(device), places, test.labels[places]
    index, key = torch.arange(config.images), (config.seed, config.start, config.target)
    if config.start == "noise":
        shape = (config.images, test.description.channels, test.description.size, test.description.size)
        return noise_seeds(shape, device, key), index, torch.full_like(index, -1)
    train = Split(config.data, "train")
    places = torch.nonzero(train.labels == number).flatten()
    places = places if train.pixels is not None else places[:FITTED]
    if len(places) < 2:
        raise BadInput(f"class {config.target!r} has {len(places)} training picture: its Gaussian needs 2")
    pictures = (part.to(device) for part in train.parts(places))
    return class_seeds(pictures, config.images, key), index, torch.full_like(index, number)


def _check(config: Config) -> None:
    if not 0 <= config.sigma < math.inf:
        raise BadInput(f"sigma is {config.sigma:g}: must be 0 (unsmoothed) or above")
    for name in ("epsilon", "step"):
        if not 0 < getattr(config, name) < math.inf:
            raise BadInput(f"{name} is {getattr(config, name):g}: must be above 0")
    if config.start not in STARTS:
        raise BadInput(f"start is {config.start!r}: choose from {', '.join(STARTS)}")
    for name in ("images", "steps", "draws", "check_draws", "frames", "batch"):
        if getattr(config, name) < 1:
            raise BadInput(f"{name} is {getattr(config, name)}: must be at least 1")


if __name__ == "__main__":
    main("ascend", Config, run)
