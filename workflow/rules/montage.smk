from functools import partial

# Figures, one rule a design; {format} is png, pdf or svg.


def shown_ascents(wildcards, every_epsilon=False, start=True):
    """Return the ascents of the class and the epsilon that a path names.

    Where it names no class, every one shown; where no epsilon, the headline's or every one. `start` as in `views_of`.
    """
    experiment, named = experiment_of(wildcards), wildcards.keys()
    radii = experiment["ascend"]["epsilon"] if every_epsilon else [headline_epsilon(wildcards)]
    radii = [number_of(wildcards, "eps")] if "eps" in named else radii
    classes = [target_of(wildcards)] if "target" in named else shown_of(wildcards.experiment)
    return ascents(wildcards, radii, classes, views_of(wildcards, start))


def swept_ascents(wildcards):
    """Return the ascents of the sweep: every view at every number of draws, towards its class."""
    sweep = experiment_of(wildcards).get("sweep")
    if sweep is None:
        refuse(f"experiment {wildcards.experiment} has no sweep: add `sweep` to it in config.yaml")
    name = f"eps={headline_epsilon(wildcards):g}/class={class_in_path(sweep['class'])}.npz"
    return [
        f"results/{wildcards.experiment}/ascend/{view_path(view)}/draws={n}/{name}"
        for view in sweep["views"]
        for n in sweep["draws"]
    ]


def synthesis_ascents(wildcards):
    """Return the ascents with no source picture: every such view and class shown."""
    if not views_of(wildcards, start=False):
        refuse(f"experiment {wildcards.experiment} has no view with `start: seeds` or `start: noise`")
    return shown_ascents(wildcards, start=False)


# By kind: the path, its ascents, what the report calls it, and the paths that an experiment has of it (from its config
# and the classes shown, as paths hold them).
MONTAGES = {
    "headline": ("headline", shown_ascents, {"figure": "headline"}, lambda *_: ["headline"]),
    "eps": (
        *("eps={eps}", shown_ascents, {"figure": "every class", "epsilon": "{eps}"}),
        lambda experiment, classes: [f"eps={epsilon:g}" for epsilon in experiment["ascend"]["epsilon"]],
    ),
    "class": (
        *(
            "class={target}",
            partial(shown_ascents, every_epsilon=True),
            {"figure": "every source", "class": "{target}"},
        ),
        lambda experiment, classes: [f"class={c}" for c in classes],
    ),
    "ladder": (
        *("ladder/class={target}", partial(shown_ascents, every_epsilon=True)),
        *({"figure": "ε ladder", "class": "{target}"}, lambda experiment, classes: [f"ladder/class={classes[0]}"]),
    ),
    "animation": (
        *("animation/class={target}", shown_ascents, {"figure": "animation", "class": "{target}"}),
        lambda experiment, classes: [f"animation/class={c}" for c in classes],
    ),
    "sweep": (
        *("sweep", swept_ascents, {"figure": "σ × N"}),
        lambda experiment, classes: ["sweep"] if "sweep" in experiment else [],
    ),
    "synthesis": (
        *("synthesis", synthesis_ascents, {"figure": "synthesis from seeds"}),
        lambda experiment, classes: (
            ["synthesis"]
            if any(view.get("start", "images") != "images" for view in experiment["ascend"]["views"])
            else []
        ),
    ),
}


def montages_of(experiment, classes):
    """Return the figures of ascents that an experiment is made of, below its folder and without their suffix."""
    return [f"montage/{path}" for *_, paths in MONTAGES.values() for path in paths(experiment, classes)]


for kind, (path, inputs, labels, _) in MONTAGES.items():

    rule:
        name:
            f"montage_{kind}"
        input:
            ascents=inputs,
            # The headline's corners say what the judges see.
            measures=lambda wildcards, kind=kind: alignments(wildcards, "csv") if kind == "headline" else [],
        output:
            report(
                f"results/{{experiment}}/montage/{path}.{{format}}",
                caption=f"../report/montage_{kind}.rst",
                category="Montages",
                labels={"experiment": "{experiment}"} | labels | {"format": "{format}"},
            ),
        log:
            f"results/{{experiment}}/logs/montage/{path}.{{format}}.log",
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
