# From the config to the flags of the steps' command lines. No rules.


def flags(**values):
    """Return values as the flags of a step's command line; None and empty are left out."""
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)] if value else []
        elif value is not None:
            words.append(f"{flag}={value}")
    return shlex.join(words)


# What decides speed and memory alone. It goes to a step through `resources:`, because a changed resource reruns nothing.
PASSING = {"workers", "checkpoint_seconds", "batch", "gpus", "nodes"}


def speed_of(stage):
    """Return the function that gives the flags of a stage's speed."""
    names = PASSING - ({"batch"} if stage == "train" else set())  # there, the batch is science

    def speed(wildcards):
        settings = experiment_of(wildcards).get(stage, {})
        return flags(**{name: settings[name] for name in sorted(names & set(settings))})

    return speed


def growing(mem_mb, times=lambda wildcards: 1):
    """Return the function that asks for `mem_mb` (for each of `times`) at first, and for as much again at each retry."""
    return lambda wildcards, attempt: mem_mb * times(wildcards) * attempt


def wide(name):
    """Return the function that gives `gpus` (of each node) or `nodes` of a training; 1 for an imported model."""
    return lambda wildcards: (1 if "import" in model_of(wildcards) else experiment_of(wildcards)["train"].get(name, 1))


def threads_of(wildcards):
    """Return the CPU threads that one job of an experiment gets."""
    return experiment_of(wildcards).get("threads", 1)


def train_step(wildcards):
    """Return the step that makes a model: train, or import_model."""
    return "import_model" if "import" in model_of(wildcards) else "train"


def train_flags(wildcards):
    """Return what decides a model: architecture, objective, schedule, augmentation, seed; or what is imported."""
    model = model_of(wildcards)
    experiment = experiment_of(wildcards)
    architecture = {
        "architecture": experiment["architecture"]["name"],
        "width": experiment["architecture"].get("width"),
    }
    if "import" in model:
        imported = {key: value for key, value in model.items() if key != "import"}
        return flags(**({} if "architecture" in model else architecture) | imported, checkpoint=model["import"])
    science = {key: value for key, value in experiment["train"].items() if key not in PASSING - {"batch"}}
    return flags(**architecture, **model, **science)


def certify_flags(wildcards):
    """Return what decides a table of certificates: sigma, images, mode, n0, n, alpha, radii, seed."""
    settings = {
        key: value for key, value in experiment_of(wildcards)["certify"].items() if key not in PASSING | {"also"}
    }
    return flags(sigma=number_of(wildcards, "sigma"), **settings)


def predict_flags(wildcards):
    """Return what decides a table of predictions: sigma, images, n, alpha, seed."""
    if "predict" not in experiment_of(wildcards):
        refuse(f"experiment {wildcards.experiment} has no values to predict with: add `predict` to it in config.yaml")
    settings = {key: value for key, value in experiment_of(wildcards)["predict"].items() if key not in PASSING}
    return flags(sigma=number_of(wildcards, "sigma"), **settings)


def ascend_flags(wildcards):
    """Return what decides an ascent: target, sigma, epsilon, sources, steps, draws, seed."""
    settings = {
        key: value
        for key, value in experiment_of(wildcards)["ascend"].items()
        if key not in PASSING | {"views", "epsilon", "classes"}
    }
    if wildcards.variant:
        name, value = wildcards.variant[1:].split("=")
        settings[name] = value
    return flags(
        target=target_of(wildcards),
        sigma=number_of(wildcards, "sigma", zero=True),
        epsilon=number_of(wildcards, "eps"),
        **settings,
    )


def align_flags(wildcards):
    """Return what decides the measures of a view: draws of a gradient, the judges' pictures, seed."""
    settings = {
        key: value
        for key, value in experiment_of(wildcards)["align"].items()
        if key not in PASSING | {"resamples", "gate"}
    }
    return flags(sigma=number_of(wildcards, "sigma", zero=True), **settings)


def summary_flags(wildcards):
    """Return what decides the summary of the measures: the headline's epsilon, gate, resamples, seed."""
    experiment = experiment_of(wildcards)
    settings = {key: value for key, value in experiment["align"].items() if key in {"resamples", "gate", "seed"}}
    return flags(epsilon=experiment["montage"]["headline_epsilon"], **settings)


def gallery_flags(wildcards):
    """Return what decides the page: the experiment and the hash of its config, sources and frames shown."""
    experiment = experiment_of(wildcards)
    # What decides speed alone is left out, at every stage.
    told = {
        stage: (
            {k: v for k, v in values.items() if k not in PASSING - ({"batch"} if stage == "train" else set())}
            if isinstance(values, dict)
            else values
        )
        for stage, values in experiment.items()
        if stage != "threads"
    }
    told = json.dumps(told, sort_keys=True, ensure_ascii=False)
    return flags(
        experiment=wildcards.experiment,
        config_hash=hashlib.sha256(told.encode()).hexdigest()[:12],
        epsilon=experiment["montage"]["headline_epsilon"],
        **experiment.get("gallery", {}),
    )


def page_hash():
    """Return what identifies the page's template, style sheet and script."""
    files = sorted((ROOT / "pagoda" / "page").iterdir())
    shown = [file.read_bytes() for file in files if file.is_file() and file.suffix != ".py"]
    return hashlib.sha256(b"".join(shown)).hexdigest()[:12]
