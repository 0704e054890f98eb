# The config checked, what wildcards may be, and what paths name. No rules.

import hashlib
import json
import re
import shlex
from contextlib import ExitStack
from functools import cache
from urllib.parse import unquote

from pagoda.data.classes import DATASETS, class_in_path, class_names, count_tests
from pagoda.data.views import View
from pagoda.files import write_text
from pagoda.options.sizes import sizes
from pagoda.run.fingerprint import factory_fingerprint, fingerprint
from pagoda.run.warm import warm

WARM = ExitStack()
ROOM = 40  # classes that figures have room for
ENOUGH = 20_000  # test pictures, of which no more need be counted
LONGEST = 60_000  # bytes of a list of files in a command: Linux takes 131,072 in all

try:
    EXPERIMENTS = check_config(config)
except BadInput as fault:
    refuse(str(fault))

GIVEN = config  # as it was given

# Captions of the report see the config alone: there, too, an experiment is one with its defaults.
config = config | {"experiments": EXPERIMENTS}


wildcard_constraints:
    experiment=r"[^/]+",
    model=r"[^/]+",
    sigma=r"[^/]+",
    eps=r"[^/]+",
    target=r"[^/]+",
    variant=r"(/(start=(seeds|noise)|draws=[1-9][0-9]*|score=(logit|untargeted)))?",
    start=r"(/start=(seeds|noise))?",
    format="png|pdf|svg",


def experiment_of(wildcards):
    """Return the experiment that a path names."""
    if wildcards.experiment not in EXPERIMENTS:
        refuse(f"unknown experiment {wildcards.experiment!r} in a path; config.yaml has {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[wildcards.experiment]


def model_of(wildcards):
    """Return the model that a path names."""
    known = experiment_of(wildcards).model_by_name
    if wildcards.model not in known:
        refuse(f"unknown model {wildcards.model!r} in a path; experiment {wildcards.experiment} has {', '.join(known)}")
    return known[wildcards.model]


def number_of(wildcards, name, zero=False):
    """Return the number in a path: sigma or eps, above 0 (or 0 itself where it is allowed), written as %g prints it."""
    text = wildcards[name]
    try:
        value = float(text)
        if f"{value:g}" == text and (value > 0 or (zero and value == 0)) and value < float("inf"):
            return value
    except ValueError:
        pass
    refuse(f"{name}={text} in a path: must be a number {'0 or ' if zero else ''}above 0, written shortly (4, not 4.0)")


@cache
def classes_of(name):
    """Return the target classes of the experiment `name`."""
    chosen, dataset = EXPERIMENTS[name].ascend.classes, EXPERIMENTS[name].dataset
    if chosen and not Path(dataset.root or "").is_dir():
        return chosen  # fetch will say what is missing
    try:
        known = class_names(*dataset.below_root)
    except BadInput as fault:
        refuse(f"experiment {name}: {fault}")
    if not chosen:
        return known
    if unknown := [c for c in chosen if c not in known]:
        refuse(
            f"experiment {name}: ascend.classes: unknown class {', '.join(unknown)}; {dataset.root} has {', '.join(known)}"
        )
    return chosen


@cache
def now_or_fetched(name):
    """Return class names and the number of test pictures (or more than enough) of someone's own pictures.

    Where they are gone, as they were fetched; None where they never were.
    """
    dataset, asked = EXPERIMENTS[name].dataset, (EXPERIMENTS[name].ascend.images, EXPERIMENTS[name].align.judge_fit)
    fetched = Path("results", name, "fetch", "dataset.json")
    try:
        if Path(dataset.root or "").exists():
            enough = 2 * sum(filter(None, asked)) + ENOUGH
            return class_names(*dataset.below_root), count_tests(*dataset.below_root, enough)
        known = json.loads(fetched.read_text(encoding="utf-8")) if fetched.is_file() else None
        return known and (tuple(known["classes"]), known["test"])
    except BadInput as fault:
        refuse(f"experiment {name}: {fault}")


def class_list(name):
    """Return what identifies the classes of someone's own pictures, so that another is fetched."""
    if not DATASETS[EXPERIMENTS[name].dataset.kind].own or not (known := now_or_fetched(name)):
        return ""  # fetch will say what is missing
    return hashlib.sha256(json.dumps(known[0]).encode()).hexdigest()[:12]


@cache
def sizes_of(name):
    """Return how many test pictures the experiment `name` takes for ascents and for judges."""
    experiment = EXPERIMENTS[name]
    kind = DATASETS[experiment.dataset.kind]
    classes, test = (now_or_fetched(name) or ((), None)) if kind.own else (kind.classes, kind.test)
    try:
        return sizes(experiment.ascend, experiment.align, len(classes), test)
    except BadInput as fault:
        refuse(f"experiment {name}: {fault}")


@cache
def shown_of(name):
    """Return the target classes that the figures of the experiment `name` show."""
    known = classes_of(name)
    chosen = EXPERIMENTS[name].montage.classes or known
    if unknown := [c for c in chosen if c not in known]:
        refuse(f"experiment {name}: montage.classes: {', '.join(unknown)} is none of ascend.classes")
    if len(chosen) > ROOM:
        refuse(
            f"experiment {name}: {len(chosen)} target classes are too many for a figure: name those to show, at most "
            f"{ROOM}, in montage.classes (the page and the measures are of all classes)"
        )
    return chosen


def target_of(wildcards):
    """Return the class name in a path."""
    experiment_of(wildcards)
    target, known = unquote(wildcards.target), classes_of(wildcards.experiment)
    if target not in known or class_in_path(target) != wildcards.target:
        named = ", ".join(map(class_in_path, known))
        refuse(f"unknown class {wildcards.target!r} in a path; experiment {wildcards.experiment} has {named}")
    return target


def listed(paths):
    """Return paths as words of a command; where they are too many for one, as @FILE, a file that lists them."""
    words = shlex.join(paths)
    if len(words.encode()) <= LONGEST:
        return words
    file = kept("".join(f"{path}\n" for path in paths), "txt")
    return f"@{file}"


def kept(content, suffix):
    """Return the path of a file with `content`, too long for a command; its name, a hash, is the same every time."""
    file = Path(".snakemake", "lists", f"{hashlib.sha256(content.encode()).hexdigest()[:16]}.{suffix}")
    write_text(file, content)
    return str(file)
