"""What the options of an experiment contradict: each check takes the sections that it is named for, all of them sound.

A section that is None by default may be missing. A check yields (place, line): keys below the experiment, and what is
wrong there.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pagoda.data.classes import DATASETS, PUBLISHED
from pagoda.options.dataset import Dataset
from pagoda.options.faults import checked
from pagoda.options.models import Bayes, Model
from pagoda.options.sizes import SOURCES
from pagoda.options.stages import Train

Faults = Iterator[tuple[tuple, str]]


def contradictions(sections: dict[str, Any]) -> Faults:
    """Yield what the checks find in the sound sections of an experiment, by name."""
    if sections.get("models") and (faults := list(_models(sections["models"]))):
        # Such models may have other names than their user thinks: what names them is not checked.
        yield from faults
        sections = sections | {"models": None}
    for check in CHECKS:
        taken = inspect.signature(check).parameters.values()
        given = {one.name: sections.get(one.name) for one in taken}
        if all(given[one.name] is not None for one in taken if one.default is one.empty):
            yield from check(**given)


def dataset_faults(dataset: Dataset) -> Faults:
    """Yield what the options of a dataset contradict."""
    known = DATASETS[dataset.kind]
    if known.root and dataset.root is None:
        yield ("dataset",), f"root is missing; kind {dataset.kind} needs the folder of its pictures"
    if known.size and dataset.size != (known.size, known.size):
        size = " x ".join(map(str, dict.fromkeys(dataset.size)))
        yield ("dataset", "size"), f"is {size}: pictures of {dataset.kind} have {known.size} pixels a side"
    own = ", ".join(kind for kind, one in DATASETS.items() if one.own)
    for name, kinds in (("channels", own), ("range", own), ("split", own), ("labels", "imagefolder, huggingface")):
        if getattr(dataset, name) and dataset.kind not in kinds.split(", "):
            yield ("dataset", name), f"is for the kinds {kinds}; {dataset.kind} does not know it"
    if dataset.storage == "files" and dataset.kind != "imagefolder":
        yield ("dataset", "storage"), f"is files: {dataset.kind} has arrays alone"
    elif dataset.storage == "files" and not (dataset.mean and dataset.std):
        yield ("dataset",), "storage files needs mean and std of each channel: they are not computed"
    if dataset.resize is not None and (dataset.storage != "files" or dataset.resize < max(dataset.size)):
        yield ("dataset", "resize"), f"is {dataset.resize}: it is for storage files, and at least size"
    if dataset.range and (len(dataset.range) != 2 or dataset.range[0] >= dataset.range[1]):
        yield ("dataset", "range"), f"is {list(dataset.range)}: must be [black, white], black below white"
    if {len(dataset.mean), len(dataset.std)} not in ({0}, {dataset.planes}):
        yield ("dataset",), f"mean and std go together, {dataset.planes} values each"


def _networks(dataset: Dataset, architecture: Any, models: Sequence[Model], align: Any) -> Faults:
    own = [((*place, "architecture"), model.architecture) for place, model in _made(models, align)]
    for place, network in [(("architecture",), architecture), *own]:
        if getattr(network, "name", None) == "resnet50" and dataset.planes != 3:
            yield place, f"resnet50 takes pictures of 3 channels, {dataset.kind} have 1"
        if getattr(network, "name", None) == "lenet" and set(dataset.size) != {28}:
            yield place, f"lenet takes pictures of 28 pixels a side, not {' x '.join(map(str, dataset.size))}"
        if network and min(dataset.size) < network.smallest:
            yield place, network.too_small(min(dataset.size))


def _training(dataset: Any, train: Any) -> Faults:
    wrong = "shift" if dataset.storage == "files" else "crop"
    if getattr(train, wrong):
        yield ("train", wrong), f"storage {dataset.storage} does not know it; leave it out"
    if train.batch % (processes := train.gpus * train.nodes):
        yield (
            ("train", "batch"),
            f"is {train.batch}, which gpus {train.gpus} x nodes {train.nodes} = {processes} processes cannot share "
            f"equally: it must be a multiple of {processes}",
        )


def _classes(dataset: Any, ascend: Any = None, sweep: Any = None, montage: Any = None) -> Faults:
    known = DATASETS[dataset.kind].classes
    named = {
        ("ascend", "classes"): ascend and ascend.classes,
        ("sweep", "class"): sweep and [sweep.target],
        ("montage", "classes"): montage and montage.classes,
    }
    for place, names in named.items():
        if known and (unknown := [name for name in names or () if name not in known]):
            yield place, f"unknown class {', '.join(unknown)}; {dataset.kind} has {', '.join(known)}"


def _models(models: Sequence[Model]) -> Faults:
    for number, model in enumerate(models):
        values = {key: value for key, value in model.objective_values.items() if key in ("sigma", "epsilon")}
        yield from _unprintable(values, "models", number)
    for place, line in _twice([model.label for model in models], "models"):
        yield place, f"{line}: give one of them a name"
    yield from _starts(models)


def _starts(models: Sequence[Model]) -> Faults:
    init, kinds = ({model.label: getattr(model, name) for model in models} for name in ("init", "objective"))
    for number, model in enumerate(models):
        place, passed, start = ("models", number, "init"), [model.label], model.init
        while start in init and start not in passed:
            passed.append(start)
            start = init[start]
        if model.init and "bayes" in (model.objective, kinds.get(model.init)):
            yield place, "Bayes classifiers are fitted, not trained: leave it out"
        elif model.init and model.init not in init:
            yield place, f"unknown model {model.init!r}; known are {', '.join(init)}"
        elif start in passed:
            yield place, f"{' starts from '.join([*passed, start])}: one must start from random weights or be imported"
        elif model.init and model.checkpoint:
            yield place, "an imported model is not trained; leave it out"
        elif model.init and model.architecture:
            yield ("models", number, "architecture"), f"is that of {model.init}, which it starts from; leave it out"


def _judge(align: Any) -> Faults:
    if align.judge.init:
        yield ("align", "judge", "init"), "a judge has nobody's weights; leave it out"


def _imports(dataset: Any, models: Sequence[Model]) -> Faults:
    known = DATASETS[dataset.kind]
    for number, model in enumerate(models):
        place, taken = ("models", number, "import"), model.checkpoint
        if taken and {len(taken.mean), len(taken.std)} not in ({0}, {known.channels}):
            yield place, f"mean and std go together, {known.channels} values each"
        if taken and taken.classes and known.classes and sorted(taken.classes) != sorted(known.classes):
            yield (*place, "classes"), f"must be those of {dataset.kind} in another order: {', '.join(known.classes)}"


def _made(models: Sequence[Model], align: Any) -> list[tuple[tuple, Model]]:
    own = [(("align", name), getattr(align, name)) for name in ("judge", "reference")]
    return [*((("models", number), model) for number, model in enumerate(models)), *own]


def _trainings(models: Sequence[Model], align: Any, train: Any) -> Faults:
    for place, model in _made(models, align):
        for _, line in checked(Train, train.model_dump(include=set(Train.model_fields)) | model.train)[1]:
            yield (*place, "train"), line
        if model.train and model.checkpoint:
            yield (*place, "train"), "an imported model is not trained; leave it out"
        if isinstance(model, Bayes):
            own = {"train": model.train, "architecture": model.architecture, "import": model.checkpoint}
            for name, value in own.items():
                if value:
                    yield (*place, name), "bayes is fitted, a Gaussian a class; leave it out"


def _compared(dataset: Any, certify: Any) -> Faults:
    if (name := certify.published) is None:
        return
    known, (size, count), place = DATASETS[dataset.kind], PUBLISHED[name], ("certify", "published")
    if known.classes and known.published != name:
        yield place, f"is {name}, another dataset than {dataset.kind}: leave it out"
    elif dataset.size != (size, size):
        here = " x ".join(map(str, dict.fromkeys(dataset.size)))
        yield place, f"is {name}, whose pictures have {size} pixels a side: here they have {here}; leave it out"
    elif not known.classes and (folder := Path(dataset.root or "") / "train").is_dir():
        found = sum(one.is_dir() for one in folder.iterdir())
        if found != count:
            yield place, f"is {name}, which has {count} classes: {folder} has {found}; leave it out"


def _views(
    models: Sequence[Model], certify: Any = None, sweep: Any = None, ablation: Any = None, ascend: Any = None
) -> Faults:
    names = [model.label for model in models]
    chosen = {
        ("certify", "also"): certify and certify.also,
        ("sweep", "views"): sweep and sweep.views,
        ("ablation", "views"): ablation and ablation.views,
        ("ascend", "views"): ascend and ascend.views,
    }
    for place, views in chosen.items():
        for number, view in enumerate(views or ()):
            yield from _unprintable({"sigma": view.sigma}, *place, number)
            if view.model not in names:
                yield (*place, number), f"unknown model {view.model!r}; known are {', '.join(names)}"


def _ascended(ascend: Any) -> Faults:
    yield from _twice([view.view.path for view in ascend.views], "ascend", "views")
    if all(view.start != "images" for view in ascend.views):
        yield ("ascend", "views"), "at least one must start from images"


def _epsilons(ascend: Any, montage: Any) -> Faults:
    for number, epsilon in enumerate(ascend.epsilon):
        yield from _unprintable({number: epsilon}, "ascend", "epsilon")
    yield from _twice([f"{epsilon:g}" for epsilon in ascend.epsilon], "ascend", "epsilon")
    headline = montage.headline_epsilon
    if headline is not None and headline not in ascend.epsilon:
        known = ", ".join(f"{epsilon:g}" for epsilon in ascend.epsilon)
        yield ("montage", "headline_epsilon"), f"is {headline:g}: must be one of ascend.epsilon, {known}"


def _unprintable(values: dict[Any, float], *place: Any) -> Faults:
    for name, value in values.items():
        if float(f"{value:g}") != value:
            yield (*place, name), f"is {value}: paths hold 6 digits; write {value:g}"


def _judges(dataset: Any, ascend: Any, align: Any) -> Faults:
    known, images = DATASETS[dataset.kind].test, ascend.images or SOURCES
    taken = (align.judge_fit or 1) + (align.judge_held_out or 1)
    if known and (left := max(0, known - images)) < taken:
        yield (
            ("align",),
            f"judge_fit {align.judge_fit} and judge_held_out {align.judge_held_out} take {taken} test images, but "
            f"beside ascend.images, {images}, {dataset.kind} has {left}",
        )


def _property(models: Sequence[Model], train: Any, certify: Any, generality: Any) -> Faults:
    own = {model.train.get("seed", train.seed) for model in models if model.is_trained}
    if repeated := sorted(own & set(generality.seeds)):
        yield ("property", "seeds"), f"{', '.join(map(str, repeated))} is the seed of a model itself; name further ones"
    if certify.mode == "grid" and (missing := [f"{r:g}" for r in generality.radii if r not in certify.radii]):
        known = ", ".join(f"{radius:g}" for radius in certify.radii)
        yield ("property", "radii"), f"{', '.join(missing)} is none of certify.radii, which grid mode decides: {known}"
    trained = [model for model in models if model.objective != "bayes" and model.objective_values.get("sigma")]
    if (views := len(trained) + len(certify.also)) < 3:
        yield ("property",), f"{views} certified models are too few for a rank correlation: 3 at least (certify.also)"


def _chosen(dataset: Any, certify: Any, predict: Any) -> Faults:
    known = DATASETS[dataset.kind].test
    for name, section in (("certify", certify), ("predict", predict)):
        if known and section.first >= known:
            yield (name, "first"), f"is {section.first}: the test images of {dataset.kind} are 0 to {known - 1}"


def _twice(names: list[str], *place: str) -> Faults:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield place, f"{name} stands twice"


CHECKS: tuple[Callable[..., Faults], ...] = (
    *(dataset_faults, _networks, _training, _classes, _trainings, _compared, _views, _ascended, _epsilons),
    *(_judges, _judge, _imports, _chosen, _property),
)
