"""Which cluster a run submits to."""

import shutil
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError

from snakemake_executor_plugin_submitit.clusters import Cluster, ExecutorSettings, Refused
from snakemake_executor_plugin_submitit.local import Debug, Local
from snakemake_executor_plugin_submitit.slurm import Slurm

CLUSTERS = {"slurm": Slurm, "local": Local, "debug": Debug}


def chosen(settings: ExecutorSettings, folder: Path) -> Cluster:
    """Return the cluster that the settings name, which submits from `folder`. Raises WorkflowError, in one line."""
    if faults := settings.faults():
        raise WorkflowError("; ".join(faults))
    name = settings.cluster
    if name == "auto":
        name = "local" if shutil.which("srun") is None else "slurm"
    if name not in CLUSTERS:
        raise WorkflowError(f"--submitit-cluster {name}: choose from {', '.join(['auto', *CLUSTERS])}")
    if settings.efficiency and name != "slurm":
        raise WorkflowError(f"--submitit-efficiency needs SLURM's accounting; this is cluster {name}")
    try:
        return CLUSTERS[name](folder, settings)
    except Refused as refused:
        raise WorkflowError(str(refused)) from None
