"""Snakemake executor: every job to SLURM through submitit, jobs with the same needs as one array.

`snakemake --executor submitit`, or `--profile slurm`. Sources: submitit (github.com/facebookincubator/submitit) and
Snakemake's executor plugin interface.
"""


def __getattr__(name: str) -> object:
    """Import what Snakemake asks of a plugin when it does: a job on the node begins sooner without it."""
    if name not in ("Executor", "ExecutorSettings", "common_settings"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from snakemake_executor_plugin_submitit import executor

    return getattr(executor, name)
