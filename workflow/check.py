"""What an experiment is about to do, in seconds and before anything runs: `snakemake check_EXPERIMENT` calls it.

Pictures a class and split, sizes, what is left out or stands twice; sources and judges; what is trained; how many jobs;
how long they may take. Where no jobs of the experiment have been measured, a batch of each architecture is timed here,
with random weights and random pixels: the right order of magnitude, no more.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import makespan
import numpy as np
import torch

from pagoda.data import sources
from pagoda.data.classes import DATASETS, class_names
from pagoda.data.decode import Look
from pagoda.data.examine import examine
from pagoda.device import autocast, pick_device, pick_precision
from pagoda.errors import BadInput
from pagoda.nets.architectures import build_seeded
from pagoda.options import Experiment
from pagoda.options.check import check_config
from pagoda.options.sizes import sizes

LOOKED_AT = 20_000
"""Files that are opened, at most: of more, as many evenly spread."""
SHOWN = 20
"""Classes that are listed, at most."""


def holdings(experiment: Experiment) -> tuple[dict[str, np.ndarray], tuple[str, ...], list[str]]:
    """Return labels by split, class names, and lines on what fetch would say; of datasets that are known, none."""
    dataset = experiment.dataset
    if not DATASETS[dataset.kind].own:
        return {}, class_names(*dataset.below_root), []
    root, look = Path(dataset.root), Look(dataset.size, dataset.planes, dataset.background, dataset.range)
    wish = sources.Wish(dataset.seed, "files", dataset.labels, dataset.split)
    if dataset.kind != "imagefolder":
        held = sources.LOADERS[dataset.kind](root, look, wish)
        said = [*held.notes, *(f"warning: {line}" for line in held.warnings)]
        return {split: pictures.labels for split, pictures in held.splits.items()}, held.classes, said
    found, listed = sources.listed_folder(root, wish)
    said = sources.left_out(found)
    if (count := sum(len(pictures.labels) for pictures in listed.values())) > LOOKED_AT:
        step = -(-count // LOOKED_AT)
        some = {s: sources.Pictures(pictures.images[::step], pictures.labels[::step]) for s, pictures in listed.items()}
        said.append(f"what follows is of every {step}th of {count:,} files; fetch looks at all")
    notes, warnings = examine(root, listed if count <= LOOKED_AT else some, look)
    said += [*notes, *(f"warning: {line}" for line in warnings)]
    return {split: pictures.labels for split, pictures in listed.items()}, found.classes, said


def table(labels: dict[str, np.ndarray], classes: tuple[str, ...]) -> Iterator[str]:
    """Yield how many pictures each class has in each split; of many classes, the first, and the extremes."""
    counts = {split: np.bincount(found, minlength=len(classes)) for split, found in labels.items()}
    width = max(len(name) for name in ("all", *classes[:SHOWN]))
    yield f"  {'class':<{width}}" + "".join(f"{split:>9}" for split in counts)
    for number, name in enumerate(classes[:SHOWN]):
        yield f"  {name:<{width}}" + "".join(f"{of[number]:>9,}" for of in counts.values())
    if len(classes) > SHOWN:
        yield f"  … {len(classes):,} classes, of " + ", ".join(
            f"{of.min():,} to {of.max():,} pictures in {split}" for split, of in counts.items()
        )
    yield f"  {'all':<{width}}" + "".join(f"{of.sum():>9,}" for of in counts.values())


def timed(architecture: dict, classes: int, shape: tuple[int, int, int], precision: str) -> tuple[float, float, int]:
    """Return seconds a picture for a pass forward, for one forward and back, and the number of parameters."""
    device = pick_device()
    network = build_seeded(0, architecture, classes, shape[0]).to(device, memory_format=torch.channels_last)
    x = torch.rand(max(2, min(256, 400_000 // (shape[1] * shape[2]))), *shape, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    precision, seconds = pick_precision(precision, device), []
    for back in (False, True):
        for _ in range(3):  # the first two warm up
            before = time.perf_counter()
            with torch.set_grad_enabled(back), autocast(precision, device):
                loss = network.train(back)(x).float().logsumexp(dim=1).sum()
            if back:
                loss.backward()
            loss.item()  # waits for a GPU
            took = (time.perf_counter() - before) / len(x)
        seconds.append(took)
    return *seconds, sum(weights.numel() for weights in network.parameters())


def guessed(experiment: Experiment, costs: dict[str, tuple[float, float]], train: int, classes: int, taken) -> dict:
    """Return the seconds of jobs by (rule, model), from those of a picture forward, and forward and back, by model.

    A certificate is taken to want all its n draws, which few do.
    """
    found = {}
    targets = len(experiment.ascend.classes or range(classes))
    for name, model in experiment.model_by_name.items():
        forward, both = costs[name]
        values = model.objective_values
        passes = values.get("draws", 1) * (1 + values.get("attack_steps", 0))
        count = taken.judge_fit if name == "judge" else train
        found["train", name] = (
            5 if model.checkpoint or not both else experiment.training_of(model).epochs * count * passes * both
        )
        certify, ascend, align = experiment.certify, experiment.ascend, experiment.align
        found["certify", name] = certify.images * (certify.n0 + certify.n) * forward
        if views := [view for view in experiment.views if view.model == name]:
            draws, checks, measured = (
                np.mean([asked if view.sigma else 1 for view in views])
                for asked in (ascend.draws, ascend.check_draws, align.draws)
            )
            found["ascend", name] = taken.images * (ascend.steps * draws * both + 2 * checks * forward)
            found["align", name] = taken.images * (targets + 1) * 2 * measured * both
    return found


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser("python workflow/check.py", description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--config", type=Path, required=True, help="JSON: what config.yaml and the command line say")
    parser.add_argument("--snakefile", required=True)
    asked = parser.parse_args()
    try:
        report(asked.experiment, asked.config, asked.snakefile)
    except BadInput as fault:
        sys.exit(f"error: {fault}")


def report(name: str, config: Path, snakefile: str) -> None:
    """Print what an experiment is about to do. Raises BadInput as planning and fetch would."""
    experiment = check_config(json.loads(config.read_text()))[name]
    dataset, known = experiment.dataset, DATASETS[experiment.dataset.kind]
    torch.set_num_threads(experiment.threads)
    labels, classes, said = holdings(experiment)
    print(f"{name}: {' '.join(filter(None, [dataset.kind, dataset.root]))}, {len(classes)} classes")
    print(*(table(labels, classes) if labels else ["  (as published: not looked at)"]), sep="\n")
    print(*(f"  {line}" for line in said), sep="\n", end="\n" if said else "")
    taken = sizes(experiment.ascend, experiment.align, len(classes), len(labels["test"]) if labels else known.test)
    print(
        f"of the test pictures: the first of other classes are {taken.images} sources of each ascent; the last "
        f"{taken.judge_fit:,} fit the judges, {taken.judge_held_out:,} before those try them"
    )
    costs, parameters = {}, {}
    for model in experiment.model_by_name.values():
        label = next(label for label, one in experiment.model_by_name.items() if one is model)
        if model.objective == "bayes":
            costs[label] = (0, 0)
            print(f"fit {label}: a Gaussian a class")
            continue
        architecture = (model.architecture or experiment.architecture).values()
        key = json.dumps(architecture)
        if key not in parameters:
            shape, precision = (dataset.planes, *dataset.size), experiment.training_of(model).precision
            *costs[key], parameters[key] = timed(architecture, len(classes), shape, precision)
        epochs = "imported" if model.checkpoint else f"{experiment.training_of(model).epochs} epochs"
        costs[label] = costs[key]
        print(f"train {label}: {epochs}, {parameters[key]:,} parameters, {key}")
    jobs, needs = makespan.plan(name, ["--snakefile", snakefile, "--configfile", str(config)])
    counts = Counter(rule for rule, _ in jobs.values() if rule != name)
    print(f"{sum(counts.values())} jobs: {', '.join(f'{rule} {count}' for rule, count in counts.items())}")
    measured = makespan.measured(Path("results") / name / "benchmarks")
    train = len(labels["train"]) if labels else known.train
    times = guessed(experiment, costs, train, len(classes), taken) | measured
    at_once = max(1, (os.cpu_count() or 1) // experiment.threads) if not torch.cuda.is_available() else 1
    end, _, chain = makespan.simulate(makespan.bundled(jobs, needs, times, {}, {}), at_once, start=2)
    source = "as measured" if measured else "guessed from a batch, certificates by all their draws"
    print(
        f"about {makespan.duration(end)} here ({source}), {at_once} jobs at once; the longest chain: {', '.join(chain)}"
    )


if __name__ == "__main__":
    main()
