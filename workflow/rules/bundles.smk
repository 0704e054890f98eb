# What an experiment's archive holds, and what it says of it. No rules.


def bundle_files(wildcards):
    """Return what the archive of an experiment holds, as files: figures as PNG and PDF, tables."""
    experiment, folder = experiment_of(wildcards), f"results/{wildcards.experiment}"
    tables = ["align/summary.csv", "align/summary.md"]
    if experiment.certified:
        tables += ["certified_accuracy.csv", "certified_accuracy.summary.csv"]
    if experiment.generality:
        tables += ["property.csv", "property.correlations.csv", "property.md"]
    figures = [
        f"{path}.{suffix}"
        for path, (kind, _) in figures_of(wildcards.experiment).items()
        for suffix in (["png"] if kind == "montage_animation" else ["png", "pdf"])
    ]
    captions = [f"montage/{figure}.tex" for figure in ("headline", "controls")]
    return [*figures, *(f"{folder}/{path}" for path in (*tables, *captions))]


def about_bundle(wildcards):
    """Write what the archive says of an experiment (config, captions) to a file, and return the file's path."""
    from jinja2 import Template

    captions = {}
    for path, (kind, named) in {
        **figures_of(wildcards.experiment),
        f"results/{wildcards.experiment}/align/summary": ("align_summary", {}),
    }.items():
        template = (ROOT / "workflow" / "report" / f"{kind}.rst").read_text(encoding="utf-8")
        values = SimpleNamespace(experiment=wildcards.experiment, **named)
        text = Template(template).render(snakemake=SimpleNamespace(config=config, wildcards=values))
        text = re.sub(r"\\ :sub:`(.)`", r"_\1", text)
        text = re.sub(r"\\(.)", lambda escaped: escaped[1].strip(), text)
        captions[path.removeprefix(f"results/{wildcards.experiment}/")] = " ".join(text.split())
    name = wildcards.experiment
    given = {"run": [name], "experiments": {name: GIVEN["experiments"][name]}}
    given |= {"defaults": GIVEN["defaults"]} if "defaults" in GIVEN else {}
    about = {
        "experiment": name,
        "config": given,
        "epsilon": experiment_of(wildcards).headline_epsilon,
        "captions": captions,
    }
    return kept(json.dumps(about, sort_keys=True, ensure_ascii=False), "json")
