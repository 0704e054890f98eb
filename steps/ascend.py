"""ascend: a view (a model and a smoothing noise level; 0 = unsmoothed), a target class and an epsilon -> pictures.

Projected L2 ascent on log p_t from the first test images of other classes (Kaur, Cohen & Lipton 2019,
arXiv 1910.08640), or from seeds with no source picture. Writes one ``.npz``: sources, ends, a few frames between, p_t
along the way and after.
"""

from dataclasses import replace
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
from pagoda.maths.noise import Noise
from pagoda.maths.seeds import class_seeds, noise_seeds
from pagoda.memory import MicroBatch
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.options import SCORES, Ascend, option
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
    score: Literal[SCORES] = option("what is ascended; untargeted: away from the source's own class", "log-p")


def run(config: Config) -> Ascent:
    """Ascend, write the file and return what is in it. Raises BadInput on values out of range."""
    device = pick_device()
    model = load_model(config.model, device)
    test = Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    classes = model.identity.classes
    if config.target not in classes:
        raise BadInput(f"class {config.target!r} is unknown: {config.data} has {', '.join(classes)}")
    sources = _sources(config, test, classes.index(config.target), device)
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
    if config.score == "untargeted":
        if config.start == "noise":
            raise BadInput("score is untargeted: noise is of no class that an ascent could lead away from")
        target = label.to(source.device)
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
            momentum=config.momentum,
            frames=config.frames,
            watch=lambda done: progress.advance(),
            score=config.score,
        )
    except FloatingPointError as error:
        raise BadInput(f"{name}: {error}; is {config.model} diverged?") from None
    before = log_score(base, source, target, check.keyed("check", "before")).exp()
    after = log_score(base, found.end, target, check.keyed("check", "after")).exp()
    _, agreement = split_half(base, source, target, noise.keyed("split half"))
    settings = Settings(
        model=config.model.parent.name,
        model_hash=model.hash,
        objective=str(model.identity.objective["name"]),
        step=config.step * config.epsilon,
        draws=noise.count,
        check_draws=check.count,
        classes=model.identity.classes,
        device=source.device.type,
        data=test.description.fingerprint,
        code=fingerprint("steps.ascend"),
        options=config.values(leave_out=("model", "data", "out")),
        **{name: getattr(config, name) for name in ("sigma", "target", "epsilon", "steps", "seed", "start", "score")},
    )
    tensors = {"source": source, "end": found.end, "index": index, "label": label}
    tensors |= {"frames": found.frames, "gradients": found.gradients}
    tensors |= {"p_path": found.p_path, "p_before": before, "p_after": after, "split_half": agreement}
    tensors |= {"norm": norms(found.end - source)}
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    return Ascent(settings, frame_steps=np.array(found.frame_steps), **arrays)


def _sources(config: Config, test: Split, number: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sources, [K, C, H, W], their numbers and their labels, [K]."""
    if config.start == "images":
        places = torch.nonzero(test.labels != number).flatten()[: config.images]
        return test.images(places).to(device), places, test.labels[places]
    index, key = torch.arange(config.images), (config.seed, config.start, config.target)
    if config.start == "noise":
        shape = (config.images, test.description.channels, *test.description.sides)
        return noise_seeds(shape, device, key), index, torch.full_like(index, -1)
    train = Split(config.data, "train")
    places = torch.nonzero(train.labels == number).flatten()
    places = places if train.pixels is not None else places[:FITTED]
    if len(places) < 2:
        raise BadInput(f"class {config.target!r} has {len(places)} training picture: its Gaussian needs 2")
    pictures = (part.to(device) for part in train.parts(places))
    return class_seeds(pictures, config.images, key), index, torch.full_like(index, number)


if __name__ == "__main__":
    main("ascend", Config, run)
