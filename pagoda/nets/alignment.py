"""The measures of a view, image by image: those of gradients at the sources, of the changes, and of the judges."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pagoda.data.ascents import Ascent, Settings, read_sources
from pagoda.data.dataset import Split
from pagoda.data.means import class_means
from pagoda.data.registry import JUDGES, MEASURES
from pagoda.errors import BadInput
from pagoda.log import logger
from pagoda.maths.alignment import FORMULAS, contrast, radial_spectrum, with_spectrum
from pagoda.maths.ascent import split_half
from pagoda.maths.confidence import interval
from pagoda.maths.noise import Noise
from pagoda.nets.gaussians import bayes_cosines
from pagoda.nets.judges import Judges, fit_judges, shrunk
from pagoda.nets.model import Loaded

OWN = ("own_split_half", *(measure.column for measure in MEASURES if measure.of in ("own", "tangent")))
SHOWN = 4  # how many images' gradients are kept to be shown


@dataclass(frozen=True)
class ViewSources:
    """The sources of a view that have a class, each once, by number, and what else all its files are needed for.

    `images` is [n, C, H, W] in [0, 1], `index` and `label` are int64 [n]; `targets` are the names of target classes;
    `settings` are the first file's.
    """

    settings: Settings
    targets: frozenset[str]
    images: Tensor
    index: Tensor
    label: Tensor


def read_view_sources(paths: tuple[Path, ...], model_hash: str, sigma: float) -> ViewSources:
    """Read a view's sources, a file at a time. Raises BadInput where one is of another model, sigma or start."""
    first, sources, *_ = read_sources(paths[0])
    targets, found = set(), {}
    for path in paths:
        settings, *arrays = read_sources(path)
        if settings.model_hash != model_hash:
            raise BadInput(f"{path} is of the model {settings.model_hash}, but the model given is {model_hash}")
        if (settings.sigma, settings.start) != (sigma, first.start):
            raise BadInput(f"{path} is of another view ({settings.view.label}) than sigma {sigma:g} from {first.start}")
        targets.add(settings.target)
        for picture, index, label in zip(*arrays, strict=True):
            if label >= 0:
                # A copy: a view would keep the whole file's.
                found.setdefault((int(index), int(label)), picture.copy())
    keys = sorted(found)
    images = np.stack([found[key] for key in keys]) if keys else sources[:0]
    index, label = torch.tensor(keys, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    return ViewSources(first, frozenset(targets), torch.from_numpy(images), index, label)


class Gradients:
    """The measures of a view's gradients at the sources; those of a target are computed once, whatever the epsilons."""

    def __init__(
        self,
        model: Loaded,
        reference: Loaded,
        train: Split,
        sources: ViewSources,
        *,
        draws: int,
        batch: int,
        seed: int,
        spectrum: Tensor | None = None,
    ):
        """Take the mean of each class: of all, or, where pictures are files, of those that the ascents name.

        Args:
            model: whose gradients; they are computed where its network is.
            reference: the Bayes classifier; it is put under the view's noise, and keeps its own where that has none.
            train: training split, for the means.
            sources: of the view.
            draws: N, noise draws of a gradient.
            batch: noisy images at once.
            seed: of the noise.
            spectrum: of another view's gradients, which this view's get as a control; None: no control.

        """
        self.spectrum = spectrum
        self.classifier, self.classes = model.classifier, model.identity.classes
        self.device = model.classifier.mean.device
        sigma = sources.settings.sigma
        self.noise = Noise(sigma, draws, batch, (seed, "align", sigma))
        self.gaussians = reference.classifier.network
        self.gaussians.sigma = sigma or self.gaussians.sigma
        self.posterior_noise = Noise(self.gaussians.sigma, draws, batch, (seed, "align", "reference", sigma))
        named = sources.targets | {self.classes[k] for k in sources.label.tolist()}
        everything = train.pixels is not None or len(named) < 2
        self.numbers = [k for k, name in enumerate(self.classes) if everything or name in named]
        self.means = class_means(train, self.numbers).to(self.device)
        self.known: dict[str, dict[str, np.ndarray]] = {}
        self.images, self.index, self.label = sources.images.to(self.device), sources.index, sources.label
        self.gradient, self.own = torch.zeros_like(self.images), {}
        if len(self.images):
            self.gradient, agreement = split_half(
                self.classifier, self.images, self.label.to(self.device), self.noise.keyed("own class")
            )
            found = {"own_split_half": agreement} | _measures("own", self.gradient, self.images)
            found |= _measures("tangent", self.gradient, self.gaussians.tangent_bases(self.label))
            pairs = list(zip(self.index.tolist(), self.label.tolist(), strict=True))
            self.own = {name: dict(zip(pairs, values.tolist(), strict=True)) for name, values in found.items()}

    def towards(self, ascent: Ascent) -> dict[str, np.ndarray]:
        """Return the measures of gradients at an ascent's sources: its target's and their own class's, each [K]."""
        target = ascent.settings.target
        if target not in self.known:
            x = torch.from_numpy(ascent.source).to(self.device)
            classes = torch.full((len(x),), self.classes.index(target), device=self.device)
            places = torch.full_like(classes, self.numbers.index(self.classes.index(target)))
            gradient, agreement = split_half(self.classifier, x, classes, self.noise.keyed(target))
            found = {"split_half": agreement} | _measures("target", gradient, x, self.means, places)
            found |= _measures("bayes", self._bayes_cosines(gradient, x, target), classes)
            found["bayes_blurred"] = torch.full_like(agreement, torch.nan)
            if self.spectrum is not None:
                blurred = with_spectrum(gradient, self.spectrum)
                found["bayes_blurred"] = contrast(self._bayes_cosines(blurred, x, target), classes)
            self.known[target] = {name: values.cpu().numpy() for name, values in found.items()}
        sources = list(zip(ascent.index.tolist(), ascent.label.tolist(), strict=True))
        own = {name: np.array([self.own.get(name, {}).get(source, np.nan) for source in sources]) for name in OWN}
        return self.known[target] | own

    def own_class(self, facts: dict) -> dict[str, np.ndarray]:
        """Return gradients of the first images' own classes, the spectrum of all, and `facts` in JSON as settings."""
        shown = {"image": self.images[:SHOWN].cpu().numpy(), "gradient": self.gradient[:SHOWN].cpu().numpy()}
        shown |= {"frequency": np.zeros(0), "spectrum": np.zeros(0)}
        if len(self.images):
            frequency, power = radial_spectrum(self.gradient)
            shown |= {"frequency": frequency.cpu().numpy(), "spectrum": power.nanmean(dim=0).cpu().numpy()}
        shown |= {"index": self.index[:SHOWN].numpy(), "label": self.label[:SHOWN].numpy()}
        settings = json.dumps(facts | {"images": len(self.images)}, ensure_ascii=False)
        return shown | {"settings": np.array(settings)}

    def _bayes_cosines(self, gradient: Tensor, x: Tensor, target: str) -> Tensor:
        return bayes_cosines(self.gaussians, gradient, x, self.posterior_noise.keyed(target))


def _measures(of: str, *given: Any) -> dict[str, Tensor]:
    """Return the measures of gradients or changes by column, each [B]."""
    return {measure.column: FORMULAS[measure.column](*given) for measure in MEASURES if measure.of == of}


def judges_of(
    net: Loaded, test: Split, sources: ViewSources, *, fit: int, held_out: int, seed: int
) -> tuple[Judges, dict]:
    """Fit the other judges; return all and, by name, their accuracy on held-out test images and on the sources.

    Args:
        net: the judge that the train step trained on the last `fit` test images.
        test: test split; judges never see its first images, which ascents start from.
        sources: of the view.
        fit: how many of the last test images they are fitted on.
        held_out: how many before those tell their accuracy.
        seed: of the judges.

    Raises:
        BadInput: where the images do not suffice, or are of too few classes.

    """
    end, first_fit = len(test), len(test) - fit
    first_held_out = first_fit - held_out
    of_images = sources.settings.start == "images"
    last = int(sources.index.max()) if of_images else -1
    if first_held_out <= last:
        raise BadInput(
            f"judge_fit is {fit} and judge_held_out {held_out}: of {end} test images they take those from "
            f"#{first_held_out} on, but sources reach #{last}; "
            + (f"lower them to {left} together" if (left := end - last - 1) > 1 else "fewer sources leave room")
        )
    found, counts = test.labels[first_fit:].unique(return_counts=True)
    if len(found) < 2 or counts.min() < 2:
        raise BadInput(
            f"judge_fit is {fit}: the last {fit} test images have {len(found)} classes, one of them "
            f"{int(counts.min())} times; judges need 2 classes at least, and 2 images of each"
        )
    small = torch.cat([shrunk(part) for part in test.parts(torch.arange(first_fit, end))])
    judges = Judges(net.classifier, fit_judges(small, test.labels[first_fit:], seed))
    labels = test.labels[first_held_out:first_fit].numpy()
    seen = {judge.name: [] for judge in JUDGES}
    for part in test.parts(torch.arange(first_held_out, first_fit)):
        for name, classes in seen.items():
            classes.append(judges.see(name, part))
    facts = {}
    for name, classes in seen.items():
        hits, n = int((np.concatenate(classes) == labels).sum()), len(labels)
        low, high = interval(hits, n)
        chance = 1 / len(test.description.classes)
        facts[name] = {"accuracy": hits / n, "low": low, "high": high, "n": n, "chance": chance}
        if of_images:
            right = judges.see(name, sources.images) == sources.label.numpy()
            facts[name] |= {"sources_accuracy": float(right.mean()), "sources_n": len(right)}
        logger.info("judge %s: accuracy %.3f on %d held-out test images", name, hits / n, n)
    return judges, facts


def rows_of(ascent: Ascent, gradients: Gradients, judges: Judges) -> Iterator[dict]:
    """Yield a row a source of an ascent: what it is of, its measures, and what judges see before and after."""
    settings, classes = ascent.settings, ascent.settings.classes
    source, end = torch.from_numpy(ascent.source), torch.from_numpy(ascent.end)
    measured = {name: getattr(ascent, name) for name in ("p_before", "p_after", "norm")} | gradients.towards(ascent)
    measured |= {name: values.numpy() for name, values in _measures("change", end - source).items()}
    seen = {
        f"{judge.name}_{when}": [classes[k] for k in judges.see(judge.name, pictures)]
        if settings.start not in judge.circular
        else [""] * len(source)
        for judge in JUDGES
        for when, pictures in (("before", source), ("after", end))
    }
    shared = {"view": settings.view.label}
    shared |= {name: getattr(settings, name) for name in ("model", "sigma", "start", "epsilon", "target")}
    for k, number in enumerate(ascent.index):
        label = classes[ascent.label[k]] if ascent.label[k] >= 0 else ""
        row = shared | {"index": int(number), "label": label}
        yield row | {name: float(values[k]) for name, values in measured.items()} | {n: s[k] for n, s in seen.items()}
