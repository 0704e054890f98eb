"""import_model: a published checkpoint -> ``model.safetensors``, certified and ascended like one that was trained here.

The normalisation is part of the base classifier, and most files lack it: a wrong one shows only in the accuracy, which
is measured here, clean and under the noise of the model's objective, on the first test images.
"""

from pathlib import Path

import torch

from pagoda.data.dataset import Split
from pagoda.device import pick_device, pick_precision
from pagoda.files import write_json, write_text
from pagoda.log import logger
from pagoda.nets.evaluation import accuracies
from pagoda.nets.importers import fit, normalisation, read_checkpoint
from pagoda.nets.model import Identity, load_model, save_model
from pagoda.nets.objectives import Objective, make
from pagoda.options import AnyModel, Architecture, Import, option
from pagoda.run.command import main
from pagoda.run.fingerprint import factory_fingerprint, fingerprint


class Config(Import):
    """Import a published checkpoint as a base classifier."""

    data: Path = option("dataset.json that the fetch step wrote: its classes and pictures are the model's")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    architecture: Architecture = option("as in config.yaml: {name: resnet110}")
    model: AnyModel = option("how it was trained, as in config.yaml: {objective: gaussian, sigma: 0.5}")
    images: int = option("test images on which its accuracy is measured", 500, ge=1)
    seed: int = option("of the noise under which it is measured", 0)


def run(config: Config) -> dict:
    """Import, measure, and return what summary.json says. Raises BadInput where the file does not fit."""
    device = pick_device()
    test = Split(config.data, "test")
    data, architecture = test.description, config.architecture.values()
    weights, found = read_checkpoint(Path(config.file), config.format, config.trusted)
    mean, std = normalisation(Path(config.file), found, config.mean, config.std, data.channels)
    identity = Identity.of(
        data,
        architecture=architecture,
        mean=mean,
        std=std,
        objective=config.model.objective_values,
        seed=config.seed,
        precision=pick_precision(config.precision, device),
        code=fingerprint("steps.import_model") + factory_fingerprint(architecture),
    )
    objective = make(**identity.objective)
    network = fit(Path(config.file), weights, architecture, len(data.classes), data.channels)
    save_model(config.out, network, identity)
    measured = _accuracies(config, test, objective, device)
    summary = {"imported": str(config.file), "format": config.format, "mean": mean, "std": std} | measured
    write_text(config.out.with_name("history.csv"), "epoch\n")  # it was not trained here
    write_json(config.out.with_name("summary.json"), summary)
    return summary


def _accuracies(config: Config, test: Split, objective: Objective, device: torch.device) -> dict:
    """Measure what was written, as certify and ascend will meet it; warn where that is near chance."""
    label, chance = f"import {config.out.parent.name}", 1 / len(test.description.classes)
    classifier = load_model(config.out, device).classifier
    found = accuracies(
        classifier, test, objective, device=device, batch=100, seed=config.seed, label=label, images=config.images
    )
    for name in (name for name in found if name.endswith("accuracy")):
        said = f"{name.replace('_', ' ')} {found[name]:.3f}"
        logger.info("%s: %s on %d test images", label, said, found["n"])
        if found[f"{name}_95"][0] < 2 * chance:
            logger.warning(
                "%s (n=%d) is near chance, %.3f: are the mean and std those that %s was trained with?",
                *(said, found["n"], chance, config.file),
            )
    return found


if __name__ == "__main__":
    main("import_model", Config, run)
