"""align: the ascents of a view -> how well its gradients and its changes agree with the classes, image by image.

Writes a table (.csv, a row an ascent) of the measures in pagoda/data/registry.py, its facts (.json) and some gradients
with their radial spectra (.npz). Means and intervals over images are `align_summary`'s.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from pagoda.data.ascents import read_ascent
from pagoda.data.dataset import Split
from pagoda.data.tables import FORMAT
from pagoda.device import pick_device
from pagoda.errors import BadInput
from pagoda.files import replacing, write_json, write_text
from pagoda.log import Progress
from pagoda.memory import MicroBatch
from pagoda.nets.alignment import Gradients, judges_of, read_view_sources, rows_of
from pagoda.nets.model import check_fits, load_model
from pagoda.options import Align, option
from pagoda.run.command import main
from pagoda.run.fingerprint import fingerprint


class Config(Align):
    """Measure how well a view's gradients and ascents agree with the classes."""

    model: Path = option("model.safetensors that the train step wrote")
    judge: Path = option("model.safetensors of the judge that the train step trained with judge_fit")
    reference: Path = option("model.safetensors of the Bayes classifier that the fit_bayes step fitted with judge_fit")
    data: Path = option("dataset.json that the fetch step wrote")
    ascents: tuple[Path, ...] = option("files that the ascend step wrote, of one view", min_length=1)
    blur_to: tuple[Path, ...] = option(
        "gradients (.npz) of another view, whose spectrum these get as a control", (), max_length=1
    )
    out: Path = option("where the table (.csv) goes; .json and .npz go beside it")
    sigma: float = option("standard deviation of the smoothing noise; 0: unsmoothed", ge=0)


def run(config: Config) -> pd.DataFrame:
    """Measure, write the files and return the table. Raises BadInput where ascents, model and data do not fit."""
    model = load_model(config.model, pick_device())
    train, test = Split(config.data, "train"), Split(config.data, "test")
    check_fits(config.model, model.identity, config.data, test.description)
    sources = read_view_sources(config.ascents, model.hash, config.sigma)
    net = load_model(config.judge, model.classifier.mean.device)
    reference = load_model(config.reference, model.classifier.mean.device)
    for path, one in ((config.judge, net), (config.reference, reference)):
        check_fits(path, one.identity, config.data, test.description)
    if reference.identity.objective["name"] != "bayes":
        raise BadInput(f"{config.reference} is no Bayes classifier: the fit_bayes step makes one")
    judges, accuracies = judges_of(
        net, test, sources, fit=config.judge_fit, held_out=config.judge_held_out, seed=config.seed
    )
    spectrum = _spectrum(config.blur_to[0]) if config.blur_to else None
    first = sources.settings
    label = f"align {first.view.label}"

    def measured(batch: int) -> tuple[list[dict], Gradients]:
        gradients = Gradients(
            model, reference, train, sources, draws=config.draws, batch=batch, seed=config.seed, spectrum=spectrum
        )
        rows = []
        progress = Progress(label, len(config.ascents), "ascents")
        for path in config.ascents:  # one in memory at a time
            rows += rows_of(read_ascent(path), gradients, judges)
            progress.advance()
        return rows, gradients

    # From the start where memory does not suffice: a table has one batch.
    rows, gradients = MicroBatch(label, config.batch).run(measured)
    table = pd.DataFrame(rows)
    facts = {"view": first.view.label, "model": first.model, "model_hash": first.model_hash, "sigma": first.sigma}
    facts |= {"draws": config.draws if first.sigma else 1, "seed": config.seed, "classes": first.classes}
    write_text(config.out, table.to_csv(**FORMAT))
    with replacing(config.out.with_suffix(".npz")) as beside:
        np.savez_compressed(beside, **gradients.own_class(facts))
    facts |= {
        "start": first.start,
        "objective": first.objective,
        "judges": accuracies,
        "judge_hash": net.hash,
        "reference_hash": reference.hash,
        "reference_sigma": gradients.gaussians.sigma,
        "data": first.data,
    }
    facts |= {"code": fingerprint("steps.align")}
    write_json(config.out.with_suffix(".json"), facts)
    return table


def _spectrum(path: Path) -> torch.Tensor:
    try:
        with np.load(path) as kept:
            return torch.from_numpy(kept["spectrum"])
    except (OSError, ValueError, KeyError) as error:
        raise BadInput(f"{path} holds no gradients that the align step wrote: {error}") from None


if __name__ == "__main__":
    main("align", Config, run)
