"""config.yaml checked: against the schema, then for what a schema cannot say. One line a fault.

Snakemake reads this module on every call, so it imports nothing heavy.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from pagoda.data.classes import DATASETS
from pagoda.errors import BadInput
from pagoda.maths.certification import Rule

NEEDS = {
    "standard": (),
    "gaussian": ("sigma",),
    "adversarial": ("epsilon", "attack_steps", "attack_step"),
    "smoothadv": ("sigma", "epsilon", "attack_steps", "attack_step", "draws", "warmup"),
}
"""The values that each training objective needs in the config; it may have no others."""
IMPORT = {"import", "format", "architecture", "width", "mean", "std", "precision", "trusted"}
"""What the config may say of a model that is imported, beside its objective."""
RULE = ("mode", "n0", "n", "alpha", "radii", "looks", "label_aware", "tolerance")
"""The values of `certify` that make a rule."""


def check_config(config: dict, schema: Path, reserved: tuple[str, ...] = ()) -> None:
    """Check the whole config.

    Args:
        config: what config.yaml and the command line say.
        schema: path of the JSON schema, in YAML.
        reserved: names that no experiment may have, because rules have them.

    Raises:
        BadInput: with one line a fault: where it stands, the value, what is allowed.

    """
    validator = jsonschema.Draft202012Validator(yaml.safe_load(schema.read_text(encoding="utf-8")))
    faults = list(_not_finite(config, "config"))
    faults += [_explain(error) for error in sorted(validator.iter_errors(config), key=lambda e: list(map(str, e.path)))]
    if not faults:
        faults = list(_contradictions(config, reserved))
    if faults:
        raise BadInput("\n".join(faults))


def model_name(model: dict) -> str:
    """Return the name of a trained model: its objective and the value that tells it from others, e.g. gaussian-0.5.

    That value is sigma, where the objective has one, else epsilon.
    """
    values = [model[key] for key in ("sigma", "epsilon") if key in model][:1]
    return "-".join([model["objective"], *(f"{value:g}" for value in values)])


def certified_views(experiment: dict) -> list[dict]:
    """Return the (model, sigma) pairs to certify: each model trained under noise at its sigma, and those of `also`."""
    own = [
        {"model": model_name(model), "sigma": model["sigma"]}
        for model in experiment["models"]
        if "sigma" in NEEDS[model["objective"]]
    ]
    return own + [view for view in experiment["certify"].get("also", []) if view not in own]


def view_path(view: dict) -> str:
    """Return where a view's files lie below its stage's folder: gaussian-0.5/sigma=0.5, .../start=seeds."""
    start = view.get("start", "images")
    return f"{view['model']}/sigma={view['sigma']:g}" + ("" if start == "images" else f"/start={start}")


def class_in_path(name: str) -> str:
    """Return a class's name as paths hold it: what Snakemake or the file system reads otherwise stands as %XX.

    That is / { } < > % and control characters; urllib.parse.unquote takes it back.
    """
    return re.sub(r"[/{}<>%\x00-\x1f]", lambda found: f"%{ord(found[0]):02X}", name)


def _not_finite(value: Any, where: str) -> Iterator[str]:
    # NaN passes every comparison of a schema.
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is {value}: must be a finite number"
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _not_finite(inner, f"{where}.{key}")


def _explain(error: jsonschema.ValidationError) -> str:
    where = ".".join(["config", *map(str, error.absolute_path)])
    limit, value = error.validator_value, error.instance
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {})
            unknown = ", ".join(sorted(str(key) for key in value if key not in known))
            return f"{where}: unknown key {unknown}; known are {', '.join(sorted(known))}"
        case "required":
            return f"{where}: {', '.join(key for key in limit if key not in value)} is missing"
        case "enum":
            return f"{where} is {value!r}: choose from {', '.join(map(str, limit))}"
        case "type":
            return f"{where} is {value!r}: must be {' or '.join([limit] if isinstance(limit, str) else limit)}"
        case "exclusiveMinimum":
            return f"{where} is {value}: must be above {limit}"
        case "exclusiveMaximum":
            return f"{where} is {value}: must be below {limit}"
        case "minimum":
            return f"{where} is {value}: must be at least {limit}"
        case "maximum":
            return f"{where} is {value}: must be at most {limit}"
        case "minItems":
            return f"{where} is {value}: must have at least {limit} entry"
        case "uniqueItems":
            return f"{where} is {value}: an entry stands twice"
    return f"{where}: {error.message}"


def _contradictions(config: dict, reserved: tuple[str, ...]) -> Iterator[str]:
    for name in config["run"]:
        if name not in config["experiments"]:
            yield f"config.run: unknown experiment {name!r}; known are {', '.join(config['experiments'])}"
    for name, experiment in config["experiments"].items():
        where = f"config.experiments.{name}"
        if name in reserved or not name.isidentifier():
            yield f"{where}: an experiment's name must be letters, digits and _, and none of {', '.join(reserved)}"
        yield from _dataset_faults(experiment, where)
        yield from _architecture_faults(experiment, where)
        yield from _train_faults(experiment["train"], f"{where}.train")
        yield from _certify_faults(experiment, where)
        # A faulty model may have another name than its user thinks: views are checked where all are sound.
        yield from list(_model_faults(experiment, where)) or _view_faults(experiment, where)


def _unprintable(values: dict[str, float], where: str) -> Iterator[str]:
    for name, value in values.items():
        if float(f"{value:g}") != value:
            yield f"{where}.{name} is {value}: paths hold 6 digits; write {value:g}"


def _architecture_faults(experiment: dict, where: str) -> Iterator[str]:
    name, has_width = experiment["architecture"]["name"], "width" in experiment["architecture"]
    if has_width != (name == "fast_resnet"):
        yield f"{where}.architecture: {name} {'takes no' if has_width else 'needs a'} width, the channels of its stem"
    if name == "resnet50" and experiment["dataset"]["kind"] == "digits":
        yield f"{where}.architecture: resnet50 takes pictures of 3 channels, digits have 1"


def _train_faults(train: dict, where: str) -> Iterator[str]:
    gpus, nodes, batch = train.get("gpus", 1), train.get("nodes", 1), train["batch"]
    if batch % (gpus * nodes):
        yield (
            f"{where}.batch is {batch}, which gpus {gpus} x nodes {nodes} = {gpus * nodes} processes cannot share "
            f"equally: it must be a multiple of {gpus * nodes}"
        )


def _certify_faults(experiment: dict, where: str) -> Iterator[str]:
    values = {name: experiment["certify"][name] for name in RULE if name in experiment["certify"]}
    values |= {name: tuple(values[name]) for name in ("radii", "looks") if name in values}
    try:
        Rule(**{"mode": "grid"} | values, sigma=1)
    except ValueError as error:
        yield f"{where}.certify: {error}"


def _dataset_faults(experiment: dict, where: str) -> Iterator[str]:
    dataset, classes = experiment["dataset"], experiment["ascend"]["classes"]
    kind = DATASETS[dataset["kind"]]
    if kind.root and "root" not in dataset:
        yield f"{where}.dataset: root is missing; kind {dataset['kind']} needs the folder of its pictures"
    if dataset.get("storage") == "files" and not (dataset.get("mean") and dataset.get("std")):
        yield f"{where}.dataset: storage files needs mean and std of each channel: they are not computed"
    if "resize" in dataset and (dataset.get("storage") != "files" or dataset["resize"] < dataset["size"]):
        yield f"{where}.dataset.resize is {dataset['resize']}: it is for storage files, and at least size"
    for name in ("mean", "std"):
        if name in dataset and (len(dataset[name]) != kind.channels or not {"mean", "std"} <= set(dataset)):
            yield f"{where}.dataset.{name} is {dataset[name]}: mean and std go together, {kind.channels} values each"
    wrong = "shift" if dataset.get("storage") == "files" else "crop"
    if experiment["train"].get(wrong):
        yield f"{where}.train.{wrong}: storage {dataset.get('storage', 'arrays')} does not know it; leave it out"
    known = kind.classes
    swept = [experiment["sweep"]["class"]] if "sweep" in experiment else []
    shown = experiment["montage"].get("classes", [])
    chosen = [] if classes == "all" else classes
    for place, named in (("ascend.classes", chosen), ("sweep.class", swept), ("montage.classes", shown)):
        if known and (unknown := [name for name in named if name not in known]):
            yield f"{where}.{place}: unknown class {', '.join(unknown)}; {dataset['kind']} has {', '.join(known)}"


def _model_faults(experiment: dict, where: str) -> Iterator[str]:
    for number, model in enumerate(experiment["models"]):
        given, needed = set(model) - {"objective"} - IMPORT, set(NEEDS[model["objective"]])
        about_import = sorted(IMPORT & set(model))
        if about_import and not {"import", "format"} <= set(model):
            yield f"{where}.models.{number}: {', '.join(about_import)}: a model is imported with both import and format"
        if given != needed:
            takes, has = (", ".join(sorted(names)) for names in (needed, given))
            yield (
                f"{where}.models.{number}: objective {model['objective']} takes {takes or 'no value'}, "
                f"but {has or 'none'} is given"
            )
        yield from _unprintable({k: model[k] for k in ("sigma", "epsilon") if k in model}, f"{where}.models.{number}")
    names = [model_name(model) for model in experiment["models"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{where}.models: {name} stands twice"


def _view_faults(experiment: dict, where: str) -> Iterator[str]:
    names = [model_name(model) for model in experiment["models"]]
    listed = {
        "certify.also": experiment["certify"].get("also", []),
        "ascend.views": experiment["ascend"]["views"],
        "sweep.views": experiment.get("sweep", {}).get("views", []),
    }
    for place, views in listed.items():
        for number, view in enumerate(views):
            yield from _unprintable({"sigma": view["sigma"]}, f"{where}.{place}.{number}")
            if view["model"] not in names:
                yield f"{where}.{place}.{number}: unknown model {view['model']!r}; known are {', '.join(names)}"
    headline, radii = experiment["montage"]["headline_epsilon"], experiment["ascend"]["epsilon"]
    yield from _unprintable({str(k): value for k, value in enumerate(radii)}, f"{where}.ascend.epsilon")
    if headline not in radii:
        yield f"{where}.montage.headline_epsilon is {headline}: must be one of ascend.epsilon, {radii}"
    paths = [view_path(view) for view in listed["ascend.views"]]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        yield f"{where}.ascend.views: {path} stands twice"
    if all(view.get("start", "images") != "images" for view in listed["ascend.views"]):
        yield f"{where}.ascend.views: at least one must start from images"
