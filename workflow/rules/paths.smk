# Which files go into which rule, and which there are. No rules.

from difflib import SequenceMatcher
from types import SimpleNamespace


def targets(name):
    """Return the files that the experiment `name` is made of."""
    captions = [f"montage/{figure}.{text}" for figure in ("headline", "controls") for text in ("md", "tex")]
    others = [*captions, "align/summary.md", "align/differences.csv", "index.html", "sheets"]
    return [*(f"{figure}.png" for figure in figures_of(name)), *(f"results/{name}/{path}" for path in others)]


def views_of(wildcards, start=True):
    """Return the views of an experiment that start from images, or those that do not."""
    return [view for view in experiment_of(wildcards).views if (view.start == "images") == start]


def ascents(wildcards, radii, classes, views):
    """Return the ascents of `views` towards `classes` at the epsilons `radii`, view by view.

    A view that starts from seeds or noise has that of the headline alone.
    """
    return [
        f"results/{wildcards.experiment}/ascend/{view.path}/eps={e:g}/class={class_in_path(c)}.npz"
        for view in views
        for e in radii
        if view.start == "images" or e == headline_epsilon(wildcards)
        for c in classes
    ]


def files_of(wildcards, stage, suffix, views):
    """Return what a stage (certify, align) makes of views: tables (tsv, csv), how they were made (json), arrays (npz)."""
    return [f"results/{wildcards.experiment}/{stage}/{view.path}.{suffix}" for view in views]


def shards(wildcards, suffix):
    """Return the tables (tsv) that a table of certificates is gathered from, or what tells how they were made (json)."""
    model_of(wildcards), number_of(wildcards, "sigma")
    return gather.certify(
        f"results/{wildcards.experiment}/certify/{wildcards.model}/sigma={wildcards.sigma}/{{scatteritem}}.{suffix}"
    )


def certified_table(wildcards):
    """Return the table of certified accuracy of an experiment, where it has anything to certify."""
    return f"results/{wildcards.experiment}/certified_accuracy.csv" if experiment_of(wildcards).certified else []


def headline_epsilon(wildcards):
    """Return the epsilon of an experiment's headline."""
    return experiment_of(wildcards).headline_epsilon


def view_of(wildcards):
    """Return the view that a path names."""
    model_of(wildcards)
    sigma = number_of(wildcards, "sigma", zero=True)
    return View(wildcards.model, sigma, wildcards.start.partition("=")[2] or "images")


def blurred_to(wildcards):
    """Return the gradients whose spectrum a view's get as a control: of the headline's smoothed view for the other."""
    first, *others = experiment_of(wildcards).headline_views
    smoothed = [view for view in others[:1] if view.sigma and not first.sigma]
    return files_of(wildcards, "align", "npz", smoothed) if view_of(wildcards) == first else []


def view_ascents(wildcards):
    """Return the ascents of one view, every class and epsilon."""
    experiment, view = experiment_of(wildcards), view_of(wildcards)
    radii = experiment.ascend.epsilon if view in experiment.views else [experiment.headline_epsilon]
    return ascents(wildcards, radii, classes_of(wildcards.experiment), [view])


def property_views(wildcards):
    """Return the views of `property`, each with what those that differ in their seed alone are called together."""
    experiment = experiment_of(wildcards)
    if experiment.generality is None:
        refuse(f"experiment {wildcards.experiment} has no property: add `property` to it in config.yaml")
    return dict(experiment.property_views)


def page_ascents(wildcards):
    """Return the ascents that the page shows: every view, epsilon and class."""
    radii = experiment_of(wildcards).ascend.epsilon
    return ascents(wildcards, radii, classes_of(wildcards.experiment), experiment_of(wildcards).views)


def rater_files(wildcards):
    """Return the files of readers' answers: what lies in raters/{experiment}/."""
    experiment_of(wildcards)
    folder = Path("raters", wildcards.experiment)
    if not (found := sorted(map(str, folder.glob("*.csv")))):
        refuse(f"no {folder}/*.csv: the blind test of results/{wildcards.experiment}/index.html gives such files")
    return found


def known_paths(name):
    """Return what one would ask for of the experiment `name`: figures, tables, models, certificates, ascents."""
    of = SimpleNamespace(experiment=name)
    folder = f"results/{name}"
    try:
        return [
            *targets(name),
            *(
                f"{folder}/{path}"
                for path in ("bundle.zip", "certified_accuracy.csv", "property.md", "align/summary.csv")
            ),
            *(f"{folder}/train/{model}/model.safetensors" for model in EXPERIMENTS[name].model_by_name),
            *files_of(of, "certify", "tsv", EXPERIMENTS[name].certified),
            *files_of(of, "predict", "tsv", EXPERIMENTS[name].certified),
            *files_of(of, "align", "csv", EXPERIMENTS[name].views),
            *page_ascents(of),
        ]
    except WorkflowError:  # its pictures are not there, say
        return []


def no_rule_makes(path):
    """Return the line on a name or path that nothing makes, with the nearest that there are."""
    if "/" not in path:
        return f"unknown target {path!r}: ask for an experiment ({', '.join(EXPERIMENTS)}) or a path under results/"
    named = [name for name in EXPERIMENTS if name in Path(path).parts] or experiments_to_run(config)
    suffix = Path(path).suffix
    near = {}
    for name in named:
        for known in known_paths(name):
            if suffix in (".pdf", ".svg"):
                known = known.removesuffix(".png") + suffix if known.endswith(".png") else known
            shorter = (known, known.removeprefix("results/"), known.removeprefix(f"results/{name}/"))
            near[known] = max(SequenceMatcher(None, path, text).ratio() for text in shorter)
    best = [known for known in sorted(near, key=near.get, reverse=True)[:3] if near[known] > 0.7]
    return f"no rule makes {path}; " + (
        f"nearest: {', '.join(best)}" if best else "results/README.md lists what there is, by path"
    )
