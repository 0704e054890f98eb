"""import_model: a published checkpoint -> ``model.safetensors``, certified and ascended like one that was trained here.

The normalisation is part of the base classifier, and most files lack it; nor do they say what their outputs mean. What
is wrong there shows only in the accuracy, which is measured here, clean and under the noise of the model's objective,
on the first test images, beside that of what else is plausible.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from pagoda.data.dataset import Split
from pagoda.data.names import names
from pagoda.device import pick_device, pick_precision
from pagoda.errors import BadInput
from pagoda.files import write_json, write_text
from pagoda.log import logger
from pagoda.maths.confidence import interval
from pagoda.memory import is_out_of_memory
from pagoda.nets.architectures import build
from pagoda.nets.evaluation import accuracies, answers, likely_order, surpasses
from pagoda.nets.importers import assemble
from pagoda.nets.model import Identity, load_model, load_weights, ready, save_model
from pagoda.nets.naming import SAME_NAMES
from pagoda.nets.normalisation import before
from pagoda.nets.objectives import Objective, make
from pagoda.options import AnyModel, Architecture, Import, option
from pagoda.run.command import main
from pagoda.run.fingerprint import factory_fingerprint, fingerprint

ALPHA = 0.01
"""Chance that something is warned of though nothing is wrong, for each kind of warning."""


COMPARED = 250
"""Test images, at most, on which what was asked for and what else is plausible are compared."""


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
    network, known = assemble(Path(config.file), architecture, data.classes, data.channels, **config.parts)
    identity = Identity.of(
        data,
        **known,
        objective=config.model.objective_values,
        seed=config.seed,
        precision=pick_precision(config.precision, device),
        code=fingerprint("steps.import_model") + factory_fingerprint(known["architecture"]),
    )
    save_model(config.out, network, identity)
    imported = _Imported(config, identity, test, device)
    try:
        imported.check_takes()
        summary = imported.summary()
    except BaseException:
        config.out.unlink()  # what is not what was published is no result
        raise
    write_text(config.out.with_name("history.csv"), "epoch\n")  # it was not trained here
    write_json(config.out.with_name("summary.json"), summary)
    imported.warn()
    return summary


@dataclass
class _Imported:
    """What was written, as certify and ascend will meet it, and the pictures on which it is measured."""

    config: Config
    identity: Identity
    test: Split
    device: torch.device

    def __post_init__(self) -> None:
        self.classifier = load_model(self.config.out, self.device).classifier
        self.objective = make(**self.identity.objective)
        self.how = {"device": self.device, "batch": 100, "seed": self.config.seed, "images": self.config.images}
        self.how |= {"label": f"import {self.config.out.parent.name}"}

    def check_takes(self) -> None:
        """Raise BadInput where the network does not take the pictures, or gives something else than logits."""
        data = self.test.description
        try:
            with torch.no_grad():
                given = tuple(self.classifier(self.test.images(range(2)).to(self.device)).shape)
        except (RuntimeError, AssertionError, ValueError, TypeError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            shape, said = f"{data.channels} x {data.size} x {data.size}", " ".join(str(error).split())[:200]
            raise BadInput(f"{self.config.file}: the network does not take pictures of {shape}: {said}") from None
        if given != (2, len(data.classes)):
            raise BadInput(
                f"{self.config.file}: the network gives {given} for 2 pictures of {len(data.classes)} classes"
            )

    def summary(self) -> dict:
        """Return what summary.json says. Raises BadInput where the accuracy is not the published one."""
        found, first = accuracies(self.classifier, self.test, self.objective, **self.how), before(self.classifier)
        for name in (name for name in found if name.endswith("accuracy")):
            said = f"{name.replace('_', ' ')} {found[name]:.3f}"
            logger.info("%s: %s on %d test images", self.how["label"], said, found["n"])
            if found[f"{name}_95"][0] < 2 / len(self.identity.classes):
                logger.warning(
                    "%s (n=%d) is near chance, %.3f: are the mean and std those that %s was trained with, and are its "
                    "outputs the classes in this order (else give classes): %s?",
                    *(
                        said,
                        found["n"],
                        1 / len(self.identity.classes),
                        self.config.file,
                        names(list(self.identity.classes)),
                    ),
                )
        self._check_published(found["clean_accuracy"], found["n"])
        moments = {name: tuple(getattr(first, name).flatten().tolist()) for name in ("mean", "std")}
        named = {"imported": str(self.config.file), "format": self.config.format, "prepare": list(first.prepare)}
        return named | moments | found

    def _check_published(self, measured: float, n: int) -> None:
        low, high = interval(round(measured * n), n, 0.999)
        published = self.config.accuracy
        if published is not None and not low <= published <= high:
            raise BadInput(
                f"accuracy is {published:g} as published, but {measured:.3f} on the first {n} test images (99.9 % "
                f"interval {low:.3f} to {high:.3f}): are mean, std, the order of classes and the pictures its authors'?"
            )

    def warn(self) -> None:
        """Warn where something else that is plausible does significantly better."""
        self.how |= {"images": min(self.config.images, COMPARED)}
        clean, labels = answers(self.classifier, self.test, make("standard"), **self.how)
        self._warn_of_order(clean, labels)
        sigma = self.objective.values.get("sigma")
        under, where = make("standard"), ""
        if sigma:
            under, where = make("gaussian", sigma=sigma), f" under noise of {sigma:g}"
        asked = self._hits(self.classifier, under)
        rivals = {said: self._hits(other, under) for said, other in self._rivals()}
        better = [said for said, hits in rivals.items() if surpasses(hits, asked, ALPHA / len(rivals))]
        if better:
            best = max(better, key=lambda said: int(rivals[said].sum()))
            logger.warning(
                "%s: with %s, %.3f of %d test images are right%s; as asked for, %.3f: which did its authors have?",
                *(self.how["label"], best, rivals[best].float().mean(), len(asked), where, asked.float().mean()),
            )

    def _warn_of_order(self, given: torch.Tensor, labels: torch.Tensor) -> None:
        """Warn where another order of the classes, found on every other picture, does better on the rest."""
        order = likely_order(given[::2], labels[::2], len(self.identity.classes))
        if surpasses(order[given[1::2]] == labels[1::2], given[1::2] == labels[1::2], ALPHA):
            logger.warning(
                "%s: %s seems to have its classes in another order: classes: [%s] gets %.3f of the test images right, "
                "the dataset's order %.3f",
                *(self.how["label"], self.config.file, ", ".join(self._outputs(order))),
                *((one == labels[1::2]).float().mean() for one in (order[given[1::2]], given[1::2])),
            )

    def _outputs(self, order: torch.Tensor) -> list[str]:
        """Return the classes of the network's outputs, where its answers mean the classes of `order`."""
        places = self.identity.outputs or range(len(order))
        return [self.identity.classes[cls] for _, cls in sorted(zip(places, order.tolist(), strict=True))]

    def _rivals(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield what else is plausible: what to call it, and the classifier, which is the same one, altered."""
        data, first = self.test.description, before(self.classifier)
        zero, half, one = ((value,) * data.channels for value in (0.0, 0.5, 1.0))
        clamp = tuple(name for name in first.prepare if name == "clamp")
        asked = first.mean.clone(), first.std.clone(), first.prepare
        for said, mean, std, prepare in (
            ("the dataset's mean and std", data.mean, data.std, clamp),
            ("the dataset's mean and std 1", data.mean, one, clamp),
            ("mean 0 and std 1", zero, one, clamp),
            ("mean and std 0.5", half, half, clamp),
            ("standardise (each picture by itself)", zero, one, (*clamp, "standardise")),
        ):
            self._set(*(torch.tensor(values).view(-1, 1, 1) for values in (mean, std)), prepare)
            yield said, self.classifier
        self._set(*asked)
        for other in SAME_NAMES if self.identity.architecture in SAME_NAMES else ():
            if other != self.identity.architecture:
                network = build(other, len(data.classes), data.channels)
                load_weights(network, self.config.out, self.identity)
                yield f"architecture {other}", ready(network, replace(self.identity, architecture=other), self.device)

    def _set(self, mean: torch.Tensor, std: torch.Tensor, prepare: tuple[str, ...]) -> None:
        first = before(self.classifier)
        first.mean.copy_(mean)
        first.std.copy_(std)
        first.prepare = prepare

    def _hits(self, classifier: torch.nn.Module, under: Objective) -> torch.Tensor:
        given, labels = answers(classifier, self.test, under, **self.how)
        return given == labels


if __name__ == "__main__":
    main("import_model", Config, run)
