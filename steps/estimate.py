"""estimate: the gradient of a view at the first source of its ascents, by each number of draws N of theirs.

Writes one ``.npz``: `gradient`, [numbers of draws, C, H, W], and `draws`. Each is the first of the two estimates whose
cosine the ascent's file has as `split_half`.
"""

from pathlib import Path

import numpy as np
import torch

from pagoda.data.ascents import read_sources
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import replacing
from pagoda.maths.ascent import log_score_and_gradient
from pagoda.maths.noise import Noise
from pagoda.nets.model import load_model
from pagoda.options import Options, option
from pagoda.run.command import main


class Config(Options):
    """Estimate a gradient from few draws and from many."""

    model: Path = option("model.safetensors that the train step wrote")
    ascents: tuple[Path, ...] = option("files that the ascend step wrote, one a number of draws", min_length=1)
    out: Path = option("where the .npz goes")
    batch: int = option("noisy pictures at once", 256, ge=1, speed=True)


def run(config: Config) -> np.ndarray:
    """Write the file and return the gradients. Raises BadInput where an ascent is missing or of another model."""
    device = pick_device()
    model = load_model(config.model, device)
    found, draws = [], []
    for path in config.ascents:
        settings, source, *_ = read_sources(path)
        if settings.model_hash != model.hash:
            raise BadInput(f"{path} is of the model {settings.model_hash}, but the model given is {model.hash}")
        key = (settings.seed, "ascend", settings.sigma, settings.target, "split half", "first")
        noise = Noise(settings.sigma, settings.draws, config.batch, key)
        target = torch.tensor([settings.classes.index(settings.target)], device=device)
        _, gradient = log_score_and_gradient(model.classifier, torch.tensor(source[:1], device=device), target, noise)
        found.append(gradient[0].cpu().numpy())
        draws.append(settings.draws)
    with replacing(config.out) as beside:
        np.savez_compressed(beside, gradient=np.stack(found), draws=np.array(draws))
    return np.stack(found)


if __name__ == "__main__":
    main("estimate", Config, run)
