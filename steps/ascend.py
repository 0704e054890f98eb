"""ascend: a view (a model and a smoothing noise level; 0 = unsmoothed), a target class and an epsilon -> pictures.

Projected L2 ascent on log p_t from the first test images of other classes (Kaur, Cohen & Lipton 2019,
arXiv 1910.08640), or from seeds with no source picture. Writes one ``.npz``: sources, ends, a few frames between, p_t
along the way and after.
"""

from pathlib import Path
from typing import Literal

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
from pagoda.maths.seeds import class_seeds, noise_seeds
from pagoda.memory import MicroBatch
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.options import Ascend, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint

FITTED = 1000
"""How many pictures of a class its Gaussian is fitted on, at most, where pictures are files."""


class Config(Ascend):
    """Ascend a target class's score from the first test images of other classes, or from seeds."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where the .npz goes")
    target: str = option("name of the target class")
    sigma: float = option("standard deviation of the smoothing noise; 0: unsmoothed", ge=0)
    epsilon: float = option("radius of the ball around the source", gt=0)
    start: Literal["images", "seeds", "noise"] = option("what the sources are", "images")


def run(config: Config) -> Ascent:
    """Ascend, write the file and return what is in it. Raises BadInput on values out of range."""
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
    device, classes = source.device, model.identity.classes
    target = torch.full((len(source),), classes.index(config.target), device=device)
    kept: dict[int, Tensor] = {}
    wanted = frame_steps(config.steps, config.frames)
    progress = Progress(name, config.steps, "steps")

    def watch(done: int, x: Tensor) -> None:
        if done in wanted:
            kept[done] = (x * 255).round().to(torch.uint8).cpu()
        if done:
            progress.advance()

    key = (config.seed, "ascend", config.sigma, config.target)
    shared = {"sigma": config.sigma, "batch": batch}
    end, log_path = ascend(
        *(model.classifier, source, target),
        epsilon=config.epsilon,
        step=config.step * config.epsilon,
        steps=config.steps,
        draws=config.draws,
        key=key,
        watch=watch,
        **shared,
    )
    if not (end.isfinite().all() and log_path.isfinite().all()):
        raise BadInput(f"{name}: p_t is not finite; is {config.model} diverged?")
    before, after = (
        log_score(model.classifier, x, target, draws=config.check_draws, key=(*key, "check", when), **shared).exp()
        for when, x in (("before", source), ("after", end))
    )
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
            draws=config.draws if config.sigma else 1,
            check_draws=config.check_draws if config.sigma else 1,
            seed=config.seed,
            classes=classes,
            device=device.type,
            data=test.description.fingerprint,
            code=fingerprint("steps.ascend"),
            start=config.start,
        ),
        source=source.cpu().numpy(),
        end=end.cpu().numpy(),
        frames=torch.stack([kept[done] for done in wanted]).numpy(),
        frame_steps=np.array(wanted),
        index=index.numpy(),
        label=label.numpy(),
        p_path=log_path.exp().cpu().numpy(),
        p_before=before.cpu().numpy(),
        p_after=after.cpu().numpy(),
        norm=norms(end - source).cpu().numpy(),
        split_half=split_half(
            *(model.classifier, source, target), draws=config.draws, key=(*key, "split half"), **shared
        )
        .cpu()
        .numpy(),
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


def frame_steps(steps: int, frames: int) -> list[int]:
    """Return after how many steps a frame is kept: `frames` numbers from 0 to `steps`, evenly spread, none twice."""
    return sorted({round(k * steps / max(1, frames - 1)) for k in range(frames)} | {0, steps})


if __name__ == "__main__":
    main("ascend", Config, run)
