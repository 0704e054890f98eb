# What the figures of ascents show, and which of them an experiment has. No rules.

from typing import Callable, NamedTuple


def shown_ascents(wildcards, every_epsilon=False, start=True):
    """Return the ascents of the class and the epsilon that a path names.

    Where it names no class, every one shown; where no epsilon, the headline's or every one. `start` as in `views_of`.
    """
    experiment, named = experiment_of(wildcards), wildcards.keys()
    radii = experiment.ascend.epsilon if every_epsilon else [experiment.headline_epsilon]
    radii = [number_of(wildcards, "eps")] if "eps" in named else radii
    classes = [target_of(wildcards)] if "target" in named else shown_of(wildcards.experiment)
    return ascents(wildcards, radii, classes, views_of(wildcards, start))


def headline_ascents(wildcards):
    """Return the ascents of the headline's views, towards every class shown."""
    experiment = experiment_of(wildcards)
    radii = [experiment.headline_epsilon]
    return ascents(wildcards, radii, shown_of(wildcards.experiment), experiment.headline_views)


def climbing_ascents(wildcards):
    """Return the ascents of the class that a path names, at every epsilon."""
    return shown_ascents(wildcards, every_epsilon=True)


def swept_ascents(wildcards):
    """Return the ascents of the sweep: every view at every number of draws, towards its class."""
    sweep = experiment_of(wildcards).sweep
    if sweep is None:
        refuse(f"experiment {wildcards.experiment} has no sweep: add `sweep` to it in config.yaml")
    name = f"eps={headline_epsilon(wildcards):g}/class={class_in_path(sweep.target)}.npz"
    return [
        f"results/{wildcards.experiment}/ascend/{options.view.path}/draws={n}/{name}"
        for options in sweep.views
        for n in sweep.draws
    ]


def ablated_ascents(wildcards):
    """Return the ascents of the ablation: every view by every score, towards every class shown."""
    ablation = experiment_of(wildcards).ablation
    if ablation is None:
        refuse(f"experiment {wildcards.experiment} has no ablation: add `ablation` to it in config.yaml")
    folder, epsilon = f"results/{wildcards.experiment}/ascend", headline_epsilon(wildcards)
    variants = {score: "" if score == "log-p" else f"score={score}/" for score in ablation.scores}
    return [
        f"{folder}/{options.view.path}/{variants[score]}eps={epsilon:g}/class={class_in_path(target)}.npz"
        for options in ablation.views
        for score in ablation.scores
        for target in shown_of(wildcards.experiment)
    ]


def synthesis_ascents(wildcards):
    """Return the ascents with no source picture: every such view and class shown."""
    if not views_of(wildcards, start=False):
        refuse(f"experiment {wildcards.experiment} has no view with `start: seeds` or `start: noise`")
    return shown_ascents(wildcards, start=False)


class Montage(NamedTuple):
    """A figure of ascents: its path, what it shows, what the report calls it, and which ones an experiment has.

    `of` gives values of the path's wildcard, from the experiment and its classes shown, as paths hold them; [""] where
    the path has none. `labels` tell figures of one title apart. `judged` are the views whose verdicts stand in its
    corners.
    """

    path: str
    title: str
    ascents: Callable
    of: Callable
    labels: dict = {}
    judged: Callable = lambda wildcards: []


MONTAGES = {  # in the order of the report
    "headline": Montage(
        "headline",
        "the claim: from three pictures towards each class, standard and smoothed",
        headline_ascents,
        lambda *_: [""],
        judged=lambda wildcards: experiment_of(wildcards).headline_views,
    ),
    "controls": Montage(
        "controls",
        "the controls: from one picture towards each class, every view",
        shown_ascents,
        lambda *_: [""],
        judged=views_of,
    ),
    "class": Montage(
        "class={target}",
        "one class from many pictures, every view and ε",
        climbing_ascents,
        lambda experiment, classes: classes,
        {"class": "{target}"},
    ),
    "eps": Montage(
        "eps={eps}",
        "one ε: from three pictures towards each class, every view",
        shown_ascents,
        lambda experiment, classes: [f"{epsilon:g}" for epsilon in experiment.ascend.epsilon],
        {"ε": "{eps}"},
    ),
    "ladder": Montage(
        "ladder/class={target}",
        "one picture at rising ε, and what changed in it",
        climbing_ascents,
        lambda experiment, classes: classes[:1],
        {"class": "{target}"},
    ),
    "sweep": Montage(
        "sweep",
        "what σ and the number of draws N do",
        swept_ascents,
        lambda experiment, classes: [""] if experiment.sweep else [],
    ),
    "ablation": Montage(
        "ablation",
        "what else could be ascended than the logarithm of the score",
        ablated_ascents,
        lambda experiment, classes: [""] if experiment.ablation else [],
    ),
    "synthesis": Montage(
        "synthesis",
        "each class from no picture",
        synthesis_ascents,
        lambda experiment, classes: [""] if any(view.start != "images" for view in experiment.views) else [],
    ),
    "steps": Montage(
        "steps/class={target}",
        "the way there, step by step",
        shown_ascents,
        lambda experiment, classes: classes[:1],
        {"class": "{target}"},
    ),
    "animation": Montage(
        "animation/class={target}",
        "the way there, moving",
        shown_ascents,
        lambda experiment, classes: classes[:1],
        {"class": "{target}"},
    ),
}


def figures_of(name):
    """Return the figures of the experiment `name`: by path without suffix, its caption's file and what the path names."""
    experiment, classes = EXPERIMENTS[name], [class_in_path(known) for known in shown_of(name)]
    curves = {"certified_accuracy": experiment.certified, "property": experiment.generality}
    curves |= {"measures": True, "gradients": True}
    figures = {f"results/{name}/{curve}": (curve, {}) for curve, wanted in curves.items() if wanted}
    for kind, montage in MONTAGES.items():
        for value in montage.of(experiment, classes):
            path = f"results/{name}/montage/{re.sub('{.*?}', lambda _: value, montage.path)}"
            figures[path] = (f"montage_{kind}", dict.fromkeys(re.findall("{(.*?)}", montage.path), value))
    return figures
