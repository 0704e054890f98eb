# From the config to the flags of the steps' command lines. No rules.
#
# What decides results goes through `params:`, and a change reruns; what decides speed and memory alone goes through
# `resources:`, and a change reruns nothing.


def flags(**values):
    """Return values as the flags of a step's command line; None and empty are left out."""
    words = []
    for name, value in values.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, (list, tuple)):
            words += [flag, *map(str, value)] if value else []
        elif isinstance(value, dict):
            words.append(f"{flag}={json.dumps(value, ensure_ascii=False)}")
        elif value is not None:
            words.append(f"{flag}={value}")
    return shlex.join(words)


def code_of(module):
    """Return the function that identifies a step's code; only jobs that are looked at read it."""
    return lambda wildcards: fingerprint(module)


def speed_of(stage):
    """Return the function that gives the flags of what decides a stage's speed alone."""
    return lambda wildcards: flags(
        **getattr(experiment_of(wildcards), stage).values(speed=True, leave_out=("gpus", "nodes"))
    )


def growing(mem_mb, times=lambda wildcards: 1):
    """Return the function that asks for `mem_mb` (for each of `times`) at first, and for as much again at each retry."""
    return lambda wildcards, attempt: mem_mb * times(wildcards) * attempt


def spread_over(name):
    """Return the function that gives `gpus` (of each node) or `nodes` of a training; 1 for what is not trained."""
    return lambda wildcards: getattr(experiment_of(wildcards).train, name) if train_step(wildcards) == "train" else 1


def threads_of(wildcards):
    """Return the CPU threads that one job of an experiment gets."""
    return experiment_of(wildcards).threads


def launch(wildcards):
    """Return what starts a training: Python; for several GPUs torchrun; on several nodes of a SLURM job srun."""
    gpus, nodes = (spread_over(name)(wildcards) for name in ("gpus", "nodes"))
    if gpus * nodes == 1:
        return "python -m"
    if nodes > 1:
        return f"exec bash {shlex.quote(str(ROOT / 'workflow' / 'on_nodes.sh'))} {nodes} {gpus}"
    return f"exec env OMP_NUM_THREADS={threads_of(wildcards)} torchrun --nproc-per-node={gpus} --standalone -m --"


def train_step(wildcards):
    """Return the step that makes a model: train, import_model, or fit_bayes."""
    model = model_of(wildcards)
    return "import_model" if model.checkpoint else "fit_bayes" if model.objective == "bayes" else "train"


def architecture_of(wildcards):
    """Return the architecture of a model: its own, that of the model it starts from, or the experiment's."""
    return experiment_of(wildcards).architecture_of(model_of(wildcards)).values()


def factory_code(wildcards):
    """Return what identifies the code of a model's own architecture and denoiser, where they have one."""
    try:
        denoiser = getattr(model_of(wildcards).checkpoint, "denoiser", None)
        parts = {"denoiser": denoiser.architecture.values()} if denoiser else {}
        return factory_fingerprint(parts | architecture_of(wildcards))
    except BadInput as fault:
        refuse(f"experiment {wildcards.experiment}: {fault}")


def train_flags(wildcards):
    """Return what decides a model: objective, architecture, schedule, augmentation, seed; or what is imported."""
    experiment, model, step = experiment_of(wildcards), model_of(wildcards), train_step(wildcards)
    values = {"model": model.values(leave_out=("name", "architecture", "train", "import", "init"))}
    if step != "fit_bayes":
        values |= {"architecture": architecture_of(wildcards)} | (
            model.checkpoint or experiment.training_of(model)
        ).values()
    if wildcards.model in ("judge", "reference") and step != "import_model":
        values |= {name: getattr(sizes_of(wildcards.experiment), name) for name in ("judge_fit", "judge_held_out")}
    return flags(**values)


def certify_flags(wildcards):
    """Return what decides a table of certificates: sigma, images, mode, n0, n, alpha, radii, seed."""
    options = experiment_of(wildcards).certify.values(leave_out=("also", "published"))
    return flags(sigma=number_of(wildcards, "sigma"), **options)


def predict_flags(wildcards):
    """Return what decides a table of predictions: sigma, images, n, alpha, seed."""
    return flags(sigma=number_of(wildcards, "sigma"), **experiment_of(wildcards).predict.values())


def ascend_flags(wildcards):
    """Return what decides an ascent: target, sigma, epsilon, sources, steps, draws, seed."""
    options = experiment_of(wildcards).ascend.values(leave_out=("views", "epsilon", "classes"))
    options = {"images": sizes_of(wildcards.experiment).images} | options
    if wildcards.variant:
        name, value = wildcards.variant[1:].split("=")
        options[name] = value
    return flags(
        target=target_of(wildcards),
        sigma=number_of(wildcards, "sigma", zero=True),
        epsilon=number_of(wildcards, "eps"),
        **options,
    )


def align_flags(wildcards):
    """Return what decides the measures of a view: draws of a gradient, the judges' pictures, seed."""
    options = experiment_of(wildcards).align.values(leave_out=("gate", "judge", "reference"))
    options |= {name: getattr(sizes_of(wildcards.experiment), name) for name in ("judge_fit", "judge_held_out")}
    return flags(sigma=number_of(wildcards, "sigma", zero=True), **options)


def summary_flags(wildcards):
    """Return what decides the summary of the measures: the headline's epsilon, the gate."""
    experiment = experiment_of(wildcards)
    return flags(epsilon=experiment.headline_epsilon, gate=experiment.align.gate)


def property_flags(wildcards):
    """Return what decides the figure of alignment against certified accuracy: radii, epsilon, what is one model."""
    experiment = experiment_of(wildcards)
    groups = property_views(wildcards).values()
    return flags(radii=experiment.generality.radii, epsilon=experiment.headline_epsilon, groups=[*groups])


def gallery_flags(wildcards):
    """Return what decides the page: the experiment and the hash of its config, sources and frames shown."""
    experiment = experiment_of(wildcards)
    sections = {name: getattr(experiment, name) for name in type(experiment).model_fields if name != "threads"}
    decisive = {name: section.values() if hasattr(section, "values") else section for name, section in sections.items()}
    text = json.dumps(decisive, sort_keys=True, ensure_ascii=False, default=lambda options: options.values())
    return flags(
        experiment=wildcards.experiment,
        config_hash=hashlib.sha256(text.encode()).hexdigest()[:12],
        epsilon=experiment.headline_epsilon,
        **experiment.gallery.values(),
    )


def page_hash():
    """Return what identifies the page's template, style sheet and script."""
    files = sorted(file for file in (ROOT / "pagoda" / "page").iterdir() if file.suffix in (".js", ".css", ".jinja"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]
