# Figures, one rule a design; {format} is png, pdf or svg.

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


def synthesis_ascents(wildcards):
    """Return the ascents with no source picture: every such view and class shown."""
    if not views_of(wildcards, start=False):
        refuse(f"experiment {wildcards.experiment} has no view with `start: seeds` or `start: noise`")
    return shown_ascents(wildcards, start=False)


class Montage(NamedTuple):
    """A figure of ascents: its path, what it shows, what the report calls it, and which ones an experiment has.

    `of` gives values of the path's wildcard, from the experiment and its classes shown, as paths hold them; [""] where
    the path has none.
    """

    path: str
    ascents: Callable

    labels: dict

    of: Callable


MONTAGES = {
    "headline": Montage("headline", shown_ascents, {"figure": "headline"}, lambda *_: [""]),
    "eps": Montage(
        "eps={eps}",
        shown_ascents,
        {"figure": "every class", "epsilon": "{eps}"},
        lambda experiment, classes: [f"{epsilon:g}" for epsilon in experiment.ascend.epsilon],
    ),
    "class": Montage(
        "class={target}",
        climbing_ascents,
        {"figure": "every source", "class": "{target}"},
        lambda experiment, classes: classes,
    ),
    "ladder": Montage(
        "ladder/class={target}",
        climbing_ascents,
        {"figure": "ε ladder", "class": "{target}"},
        lambda experiment, classes: classes[:1],
    ),
    "animation": Montage(
        "animation/class={target}",
        shown_ascents,
        {"figure": "animation", "class": "{target}"},
        lambda experiment, classes: classes,
    ),
    "sweep": Montage(
        "sweep", swept_ascents, {"figure": "σ × N"}, lambda experiment, classes: [""] if experiment.sweep else []
    ),
    "synthesis": Montage(
        "synthesis",
        synthesis_ascents,
        {"figure": "synthesis from seeds"},
        lambda experiment, classes: [""] if any(view.start != "images" for view in experiment.views) else [],
    ),
}


def montages_of(experiment, classes):
    """Return the figures of ascents that an experiment is made of, below its folder and without their suffix."""
    return [
        f"montage/{re.sub('{.*?}', lambda _: value, montage.path)}"
        for montage in MONTAGES.values()
        for value in montage.of(experiment, classes)
    ]


for kind, montage in MONTAGES.items():

    rule:
        name:
            f"montage_{kind}"
        input:
            ascents=montage.ascents,
            # The headline's corners say what the judges see.
            measures=lambda wildcards, kind=kind: alignments(wildcards, "csv") if kind == "headline" else [],
        output:
            report(
                f"results/{{experiment}}/montage/{montage.path}.{{format}}",
                caption=f"../report/montage_{kind}.rst",
                category="Montages",
                labels={"experiment": "{experiment}"} | montage.labels | {"format": "{format}"},
            ),
        log:
            f"results/{{experiment}}/logs/montage/{montage.path}.{{format}}.log",
        conda:
            "../../envs/torch.yaml"
        resources:
            mem_mb=growing(2000),
            runtime=15,
        params:
            kind=kind,
            ascents=lambda wildcards, input: listed(input.ascents),
            code=fingerprint("steps.montage"),
        shell:
            "python -m steps.montage --kind {params.kind} --ascents {params.ascents} --measures {input.measures:q}"
            " --out {output:q} --code {params.code} --log {log:q}"


rule gradients:
    input:
        lambda wildcards: alignments(wildcards, "npz"),
    output:
        report(
            "results/{experiment}/gradients.{format}",
            caption="../report/gradients.rst",
            category="Curves",
            labels={"experiment": "{experiment}", "figure": "gradients and their spectra", "format": "{format}"},
        ),
    log:
        "results/{experiment}/logs/gradients.{format}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        code=fingerprint("steps.gradients"),
    shell:
        "python -m steps.gradients --gradients {input:q} --out {output:q} --code {params.code} --log {log:q}"


rule measures:
    input:
        summary=rules.align_summary.output.table,
        certified=certified_table,
    output:
        report(
            "results/{experiment}/measures.{format}",
            caption="../report/measures.rst",
            category="Curves",
            labels={"experiment": "{experiment}", "figure": "certified accuracy and alignment", "format": "{format}"},
        ),
    log:
        "results/{experiment}/logs/measures.{format}.log",
    conda:
        "../../envs/torch.yaml"
    resources:
        mem_mb=growing(2000),
        runtime=15,
    params:
        epsilon=headline_epsilon,
        code=fingerprint("steps.measures"),
    shell:
        "python -m steps.measures --summary {input.summary:q} --certified {input.certified:q}"
        " --epsilon {params.epsilon} --out {output:q} --code {params.code} --log {log:q}"
