"""align: the ascents of a view -> how well its gradients and its changes agree with the classes, image by image.

Gradients, at the sources: the contrastive cosine (of the target's score) and the saliency cosine
(of the image's own class), and for each the split-half cosine that says whether N is large enough. Changes: what three
judges see before and after, and the high-frequency fraction. Writes a table (.csv, a row an ascent), its facts (.json)
and some gradients with their radial spectra (.npz). Means and intervals over images are `align_summary`'s.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pagoda.data.ascents import Ascent, Settings, read_ascent, read_sources
from pagoda.data.dataset import Split
from pagoda.data.means import class_means
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import replacing, write_text
from pagoda.log import Progress, logger
from pagoda.maths.alignment import contrastive_cosine, high_frequency_fraction, radial_spectrum, saliency_cosine
from pagoda.maths.ascent import log_score_and_gradient
from pagoda.maths.ball import cosine, norms
from pagoda.maths.confidence import interval
from pagoda.maths.noise import Noise
from pagoda.memory import MicroBatch
from pagoda.nets.judges import JUDGES, Judges, fit_judges, shrunk
from pagoda.nets.model import Loaded, check_fits, load_model
from pagoda.options import Align, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint

SHOWN = 4
"""How many images' gradients the .npz holds."""


class Config(Align):
    """Measure how well a view's gradients and ascents agree with the classes."""

    model: Path = option("model.safetensors that the train step wrote")
    data: Path = option("dataset.json that the fetch step wrote")
    ascents: tuple[Path, ...] = option("files that the ascend step wrote, of one view")
    out: Path = option("where the table (.csv) goes; .json and .npz go beside it")
    sigma: float = option("standard deviation of the smoothing noise; 0: unsmoothed", ge=0)


def run(config: Config) -> pd.DataFrame:
    """Measure, write the files and return the table. Raises BadInput where ascents, model and data do not fit."""
    device = pick_device()
    model = load_model(config.model, device)
    train, test = Split(config.data, "train"), Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    sources = _sources(config, model)
    judges, facts = _judges(config, test, sources)
    first = sources.settings
    label = f"align {first.view}"

    def measured(batch: int) -> tuple[list[dict], Gradients]:
        gradients = Gradients(config.model_copy(update={"batch": batch}), model, train, sources, device)
        rows = []
        progress = Progress(label, len(config.ascents), "ascents")
        for path in config.ascents:  # one in memory at a time
            rows += list(_rows(read_ascent(path), gradients, judges))
            progress.advance()
        return rows, gradients

    # From the start where memory does not suffice: a table has one batch.
    rows, gradients = MicroBatch(label, config.batch).run(measured)
    table = pd.DataFrame(rows)
    shared = {"view": first.view, "model": first.model, "model_hash": first.model_hash, "sigma": first.sigma}
    shared |= {"draws": config.draws if first.sigma else 1, "seed": config.seed, "classes": first.classes}
    own = gradients.own_class(shared)
    write_text(config.out, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    with replacing(config.out.with_suffix(".npz")) as beside:
        np.savez_compressed(beside, **own)
    facts = shared | {
        "start": first.start,
        "objective": first.objective,
        "judges": facts,
        "data": first.data,
        "code": fingerprint("steps.align"),
    }
    write_text(config.out.with_suffix(".json"), json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return table


@dataclass(frozen=True)
class ViewSources:
    """The sources of a view that have a class, each once, by number, and what else all its files are needed for.

    `images` is [n, C, H, W] in [0, 1], `index` and `label` are int64 [n]; `targets` are the names of target classes;
    `settings` are the first file's, and `shape` is [C, H, W].
    """

    settings: Settings
    shape: tuple[int, ...]
    targets: frozenset[str]
    images: Tensor
    index: Tensor
    label: Tensor


class Gradients:
    """The measures of a view's gradients at the sources; those of a target are computed once, whatever the epsilons."""

    def __init__(self, config: Config, model: Loaded, train: Split, sources: ViewSources, device: torch.device):
        """Take the mean of each class: of all, or, where pictures are files, of those that the ascents name."""
        self.config, self.classifier, self.device = config, model.classifier, device
        self.classes, self.shape = model.identity.classes, sources.shape
        named = sources.targets | {self.classes[k] for k in sources.label.tolist()}
        everything = train.pixels is not None or len(named) < 2
        self.numbers = [k for k, name in enumerate(self.classes) if everything or name in named]
        self.means = class_means(train, self.numbers).to(device)
        self.known: dict[str, dict[str, np.ndarray]] = {}
        self.images, self.index, self.label = sources.images.to(device), sources.index, sources.label
        self.gradient, self.own = torch.zeros_like(self.images), {"saliency": {}, "own_split_half": {}}
        if len(self.images):
            key = (config.seed, "align", config.sigma, "own class")
            label = self.label.to(device)
            self.gradient, second = (self._gradient(self.images, label, (*key, half)) for half in ("first", "second"))
            sources = list(zip(self.index.tolist(), self.label.tolist(), strict=True))
            saliency = saliency_cosine(self.gradient, self.images).tolist()
            self.own["saliency"] = dict(zip(sources, saliency, strict=True))
            self.own["own_split_half"] = dict(zip(sources, _agreement(self.gradient, second).tolist(), strict=True))

    def towards(self, ascent: Ascent) -> dict[str, np.ndarray]:
        """Return the measures of the gradients at an ascent's sources towards its target, each [K]."""
        target = ascent.settings.target
        if target not in self.known:
            x = torch.from_numpy(ascent.source).to(self.device)
            classes = torch.full((len(x),), self.classes.index(target), device=self.device)
            places = torch.full_like(classes, self.numbers.index(self.classes.index(target)))
            key = (self.config.seed, "align", self.config.sigma, target)
            first, second = (self._gradient(x, classes, (*key, half)) for half in ("first", "second"))
            self.known[target] = {
                "split_half": _agreement(first, second),
                "contrastive": contrastive_cosine(first, x, self.means, places).cpu().numpy(),
            }
        sources = list(zip(ascent.index.tolist(), ascent.label.tolist(), strict=True))
        own = {name: np.array([self.own[name].get(source, np.nan) for source in sources]) for name in self.own}
        return self.known[target] | own

    def own_class(self, settings: dict) -> dict[str, np.ndarray]:
        """Return what the .npz holds: gradients of the first images' own classes, and the spectrum of all."""
        images, gradient = self.images, self.gradient
        if not len(images):
            empty = np.zeros((0, *self.shape), np.float32)
            shown = {"image": empty, "gradient": empty, "frequency": np.zeros(0), "spectrum": np.zeros(0)}
        else:
            frequency, power = radial_spectrum(gradient)
            shown = {"image": images[:SHOWN].cpu().numpy(), "gradient": gradient[:SHOWN].cpu().numpy()}
            shown |= {"frequency": frequency.cpu().numpy(), "spectrum": power.nanmean(dim=0).cpu().numpy()}
        told = json.dumps(settings | {"images": len(images)}, ensure_ascii=False)
        return shown | {
            "index": self.index[:SHOWN].numpy(),
            "label": self.label[:SHOWN].numpy(),
            "settings": np.array(told),
        }

    def _gradient(self, x: Tensor, classes: Tensor, key: tuple) -> Tensor:
        noise = Noise(self.config.sigma, self.config.draws, self.config.batch, key)
        return log_score_and_gradient(self.classifier, x, classes, noise)[1]


def _sources(config: Config, model: Loaded) -> ViewSources:
    """Read what the ascents start from, a file at a time. Raises BadInput where they are not of one view."""
    if not config.ascents:
        raise BadInput("no ascents: the measures of a view need at least one that the ascend step wrote")
    first, targets, found = read_sources(config.ascents[0]), set(), {}
    for path in config.ascents:
        read = read_sources(path)
        settings = read.settings
        if settings.model_hash != model.hash:
            raise BadInput(f"{path} is of the model {settings.model_hash}, but {config.model} is {model.hash}")
        if (settings.sigma, settings.start) != (config.sigma, first.settings.start):
            raise BadInput(
                f"{path} is of another view ({settings.view}) than sigma {config.sigma:g} from {first.settings.start}"
            )
        targets.add(settings.target)
        for index, label, picture in zip(read.index.tolist(), read.label.tolist(), read.source, strict=True):
            if label >= 0:
                found.setdefault((index, label), picture.copy())  # a view would keep the whole file's in memory
    keys, shape = sorted(found), first.source.shape[1:]
    images = torch.from_numpy(np.stack([found[key] for key in keys])) if keys else torch.zeros(0, *shape)
    index, label = torch.tensor(keys, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    return ViewSources(first.settings, shape, frozenset(targets), images, index, label)


def _judges(config: Config, test: Split, sources: ViewSources) -> tuple[Judges, dict]:
    """Fit the judges; return them and, by name, their accuracy on held-out test images and on the sources."""
    end, fit = len(test), len(test) - config.judge_fit
    held_out = fit - config.judge_held_out
    of_images = sources.settings.start == "images"
    last = int(sources.index.max()) if of_images else -1
    if held_out <= last:
        raise BadInput(
            f"judge_fit is {config.judge_fit} and judge_held_out {config.judge_held_out}: of {end} test images they "
            f"take those from #{held_out} on, but sources reach #{last}; lower them to {end - last - 1} together"
        )
    found, counts = test.labels[fit:].unique(return_counts=True)
    if len(found) < 2 or counts.min() < 2:
        raise BadInput(
            f"judge_fit is {config.judge_fit}: the last {config.judge_fit} test images have {len(found)} classes, one "
            f"of them {int(counts.min())} times; judges need 2 classes at least, and 2 images of each"
        )
    judges = fit_judges(_small(test, fit, end), test.labels[fit:], config.seed)
    pictures, labels = _small(test, held_out, fit), test.labels[held_out:fit].numpy()
    facts = {}
    for name in JUDGES:
        hits, n = int((judges.see(name, pictures) == labels).sum()), len(labels)
        low, high = interval(hits, n)
        facts[name] = {
            "accuracy": hits / n,
            "low": low,
            "high": high,
            "n": n,
            "chance": 1 / len(test.description.classes),
        }
        if of_images:
            seen = judges.see(name, sources.images) == sources.label.numpy()
            facts[name] |= {"sources_accuracy": float(seen.mean()), "sources_n": len(seen)}
        logger.info("judge %s: accuracy %.3f on %d held-out test images", name, hits / n, n)
    return judges, facts


def _agreement(first: Tensor, second: Tensor) -> np.ndarray:
    """Return the cosine of two estimates of each gradient, [B]; NaN for one of length 0."""
    return cosine(first, second).masked_fill((norms(first) == 0) | (norms(second) == 0), torch.nan).cpu().numpy()


def _small(test: Split, first: int, end: int) -> Tensor:
    """Return test images as judges see them at most, never more than a part of them at once in full."""
    return torch.cat([shrunk(part) for part in test.parts(torch.arange(first, end))])


def _rows(ascent: Ascent, gradients: Gradients, judges: Judges) -> Iterator[dict]:
    settings, classes = ascent.settings, ascent.settings.classes
    measured = gradients.towards(ascent)
    source, end = torch.from_numpy(ascent.source), torch.from_numpy(ascent.end)
    seen = {
        f"{name}_{when}": judges.see(name, pictures)
        for name in JUDGES
        if not (name == "qda" and settings.start == "seeds")  # circular: seeds are drawn from such Gaussians
        for when, pictures in (("before", source), ("after", end))
    }
    high = high_frequency_fraction(end - source).numpy()
    for k, number in enumerate(ascent.index):
        yield {
            "view": settings.view,
            "model": settings.model,
            "sigma": settings.sigma,
            "start": settings.start,
            "epsilon": settings.epsilon,
            "target": settings.target,
            "index": int(number),
            "label": classes[ascent.label[k]] if ascent.label[k] >= 0 else "",
            **{name: float(getattr(ascent, name)[k]) for name in ("p_before", "p_after", "norm")},
            **{name: float(measured[name][k]) for name in ("split_half", "contrastive", "own_split_half", "saliency")},
            "high_frequency": float(high[k]),
            **{
                f"{name}_{when}": classes[seen[f"{name}_{when}"][k]] if f"{name}_{when}" in seen else ""
                for name in JUDGES
                for when in ("before", "after")
            },
        }


if __name__ == "__main__":
    main("align", Config, run)
