"""fit_bayes: a dataset -> the Bayes classifier under noise, were each class a Gaussian. Nothing is trained."""

import math
from pathlib import Path

import torch

from pagoda.data.means import made_from_and_tested_on, places_of
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import write_json, write_text
from pagoda.log import Progress, logger
from pagoda.maths.gaussians import fit_gaussian
from pagoda.nets.evaluation import accuracies
from pagoda.nets.gaussians import ClassGaussians
from pagoda.nets.model import Identity, load_model, save_model
from pagoda.nets.objectives import make
from pagoda.options import Bayes, JudgePictures, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint

FITTED = 2000
"""Pictures of a class, at most, that its Gaussian is fitted on: more take minutes, and tell little more."""
ROOM = 2**29
"""Values of components together: 2 GB. Of very many classes of large pictures, each has fewer than `rank`."""


class Config(JudgePictures):
    """Fit a Gaussian to each class and write the classifier that they make."""

    data: Path = option("dataset.json that the fetch step wrote")
    out: Path = option("where model.safetensors goes; history.csv and summary.json go beside it")
    model: Bayes = option("as in config.yaml: {objective: bayes, sigma: 0.5}")


def run(config: Config) -> dict:
    """Fit, measure, and return what summary.json says. Raises BadInput where a class has too few pictures."""
    pictures, test = made_from_and_tested_on(config.data, config.judge_fit, config.judge_held_out)
    data, device, label = pictures.description, pick_device(), f"fit {config.out.parent.name}"
    progress = Progress(label, len(data.classes), "classes")
    fitted, pixels = [], len(data.classes) * data.channels * math.prod(data.sides)
    rank = max(1, min(config.model.rank, ROOM // pixels))
    for number, name in enumerate(data.classes):
        places = places_of(pictures, number)[:FITTED]
        parts = list(pictures.parts(places)) if len(places) else []
        try:
            fitted.append(fit_gaussian(torch.cat(parts) if parts else torch.empty(0, 1), rank))
        except BadInput as error:
            raise BadInput(f"class {name!r}: {error}" + "; raise judge_fit" * bool(config.judge_fit)) from None
        one = fitted[-1]
        note = f"{name}: {one.n} pictures, {len(one.variance)} components, shrinkage {one.shrinkage:.2f}"
        progress.advance(note=note)
    network = ClassGaussians.of(fitted, data.channels, config.model.sigma)
    _, rank, values = network.basis.shape
    identity = Identity.of(
        data,
        architecture={"name": "gaussians", "size": values // data.channels, "rank": rank, "sigma": config.model.sigma},
        mean=(0.0,) * data.channels,
        std=(1.0,) * data.channels,
        objective=config.model.objective_values,
        seed=0,
        precision="float32",
        code=fingerprint("steps.fit_bayes"),
    )
    save_model(config.out, network, identity)
    under = make("gaussian", sigma=config.model.sigma)
    classifier = load_model(config.out, device).classifier
    found = accuracies(classifier, test, under, device=device, batch=100, seed=0, label=label)
    shrinkage = {name: round(one.shrinkage, 4) for name, one in zip(data.classes, fitted, strict=True)}
    found |= {"objective": identity.objective, "rank": rank, "shrinkage": shrinkage}
    logger.info("%s: clean accuracy %.3f, noisy accuracy %.3f", label, found["clean_accuracy"], found["noisy_accuracy"])
    write_text(config.out.with_name("history.csv"), "epoch\n")  # nothing was trained
    write_json(config.out.with_name("summary.json"), found)
    return found


if __name__ == "__main__":
    main("fit_bayes", Config, run)
