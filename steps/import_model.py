"""import_model: a published checkpoint -> ``model.safetensors``, certified and ascended like one that was trained here.

The normalisation is part of the base classifier, and most files lack it: a wrong one shows only in the accuracy, which
is measured here, clean and under the noise of the model's objective, on the first test images.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from pagoda.data.dataset import Split
from pagoda.device import pick_device, pick_precision
from pagoda.files import write_text
from pagoda.log import logger
from pagoda.maths.confidence import interval
from pagoda.maths.randomness import generator
from pagoda.nets.importers import FORMATS, fit, normalisation, read_checkpoint
from pagoda.nets.model import Identity, load_model, save_model
from pagoda.nets.objectives import Objective
from pagoda.run.command import main, option
from pagoda.run.fingerprint import fingerprint


@dataclass(frozen=True)
class Config:
    """Import a published checkpoint as a base classifier."""

    checkpoint: Path = option("file of the checkpoint")
    format: str = option(f"its format: {', '.join(FORMATS)}")
    data: Path = option("dataset.json that the fetch step wrote: its classes and pictures are the model's")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: str = option("name of the architecture")
    width: int | None = option("channels of the stem (fast_resnet)", default=None)
    objective: str = option("how it was trained: standard, gaussian, adversarial or smoothadv", default="standard")
    sigma: float = option("gaussian, smoothadv: standard deviation of its noise, in pixel values", default=0.0)
    epsilon: float = option("adversarial, smoothadv: radius of its attack, L2, in pixel values", default=0.0)
    attack_steps: int = option("adversarial, smoothadv: steps of its attack", default=0)
    attack_step: float = option("adversarial, smoothadv: length of a step, L2, in pixel values", default=0.0)
    draws: int = option("smoothadv: m, noise draws of a picture", default=1)
    warmup: int = option("smoothadv: epochs over which epsilon and step grew to the whole", default=0)
    mean: tuple[float, ...] = option("of each channel, where the file does not hold it", default=())
    std: tuple[float, ...] = option("of each channel, where the file does not hold it", default=())
    precision: str = option("auto, float32 or bfloat16, of its arithmetic", default="float32")
    trusted: bool = option("read the file even where that runs code from it", default=False)
    images: int = option("test images on which its accuracy is measured", default=500)
    seed: int = option("of the noise under which it is measured", default=0)


def run(config: Config) -> dict:
    """Import, measure, and return what summary.json says. Raises BadInput where the file does not fit."""
    device = pick_device()
    test = Split(config.data, "test")
    data = test.description
    weights, found = read_checkpoint(config.checkpoint, config.format, config.trusted)
    mean, std = normalisation(config.checkpoint, found, config.mean, config.std, data.channels)
    options = {} if config.width is None else {"width": config.width}
    network = fit(config.checkpoint, weights, config.architecture, len(data.classes), data.channels, **options)
    values = (config.sigma, config.epsilon, config.attack_steps, config.attack_step, config.draws, config.warmup)
    identity = Identity(
        architecture=config.architecture,
        options=options,
        classes=data.classes,
        channels=data.channels,
        size=data.size,
        mean=mean,
        std=std,
        objective=Objective(config.objective, *values).values(),
        seed=config.seed,
        precision=pick_precision(config.precision, device),
        data=data.fingerprint,
        code=fingerprint("steps.import_model"),
    )
    save_model(config.out, network, identity)
    summary = {"imported": str(config.checkpoint), "format": config.format, "mean": mean, "std": std}
    summary |= _accuracies(config, test, device)
    write_text(config.out.with_name("history.csv"), "epoch\n")  # it was not trained here
    write_text(config.out.with_name("summary.json"), json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _accuracies(config: Config, test: Split, device: torch.device) -> dict:
    """Measure what was written, as certify and ascend will meet it; warn where that is near chance."""
    loaded = load_model(config.out, device)
    places = list(range(min(config.images, len(test))))
    hits = {"clean": 0, "noisy": 0}
    for number, part in enumerate(torch.tensor(places).split(100)):
        images, labels = test.images(part.tolist()).to(device), test.labels[part].to(device)
        source = generator(device, config.seed, "import", number)
        noise = torch.empty_like(images).normal_(0, config.sigma or 1, generator=source) * (config.sigma > 0)
        with torch.inference_mode():
            for name, shown in (("clean", images), ("noisy", images + noise)):
                hits[name] += int((loaded.classifier(shown).float().argmax(dim=1) == labels).sum())
    if config.sigma == 0:
        del hits["noisy"]
    n, chance = len(places), 1 / len(test.description.classes)
    found: dict = {"n": n}
    for name, count in hits.items():
        found |= {f"{name}_accuracy": count / n, f"{name}_accuracy_95": interval(count, n)}
        logger.info("import %s: %s accuracy %.3f on %d test images", config.out.parent.name, name, count / n, n)
        if interval(count, n)[0] < 2 * chance:
            logger.warning(
                "%s accuracy %.3f (n=%d) is near chance, %.3f: are mean and std %s, %s those that %s was trained with?",
                *(name, count / n, n, chance, loaded.identity.mean, loaded.identity.std, config.checkpoint),
            )
    return found


if __name__ == "__main__":
    main("import_model", Config, run)
