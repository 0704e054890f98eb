"""What a job asks for -> what submitit hands to sbatch, or takes of one machine. Pure: no cluster is talked to.

The names of resources are those of the official SLURM plugin, so that a profile moves over.
"""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

DEFAULT_RUNTIME = 60
"""Minutes that a job gets which names no runtime."""
OPTIONS = {"slurm_partition": "partition", "slurm_account": "account", "slurm_qos": "qos"} | {
    name: name for name in ("qos", "constraint", "gres")
}
"""Resources that reach sbatch as they are, and its options."""


class BadResource(Exception):  # noqa: N818 - the message says what is bad
    """A resource that no cluster could grant: one line with its name, its value and what is allowed."""


def sbatch_parameters(resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Return the parameters of `submitit.SlurmExecutor` for a job.

    Args:
        resources: of the job: runtime (minutes), mem_mb, mem_mb_per_cpu, cpus_per_task, gpu, gpu_model, gres, nodes,
            tasks, tasks_per_node, slurm_partition, slurm_account, slurm_qos or qos, constraint, slurm_extra. Others
            are not SLURM's.
        threads: of the job; cpus_per_task where that is not given.

    Raises:
        BadResource: for a value that is not a number where one is needed, negative, or in conflict with another.

    """
    found: dict[str, Any] = {
        "time": _whole(resources, "runtime", least=1, default=DEFAULT_RUNTIME),
        "cpus_per_task": _whole(resources, "cpus_per_task", least=1, default=threads),
        "nodes": _whole(resources, "nodes", least=1, default=1),
    }
    if resources.get("mem_mb_per_cpu"):
        found["mem_per_cpu"] = f"{_whole(resources, 'mem_mb_per_cpu', least=1)}M"
    elif resources.get("mem_mb") is not None:
        found["mem"] = f"{_whole(resources, 'mem_mb', least=1)}M"
    if resources.get("tasks_per_node"):
        found["ntasks_per_node"] = _whole(resources, "tasks_per_node", least=1)
    found |= {option: str(resources[name]) for name, option in OPTIONS.items() if resources.get(name)}
    extra = _extra(resources.get("slurm_extra", ""))
    if resources.get("tasks"):
        extra["ntasks"] = _whole(resources, "tasks", least=1)
    gpus = _whole(resources, "gpu", least=0, default=0)
    if gpus:
        if "gres" in found:
            raise BadResource(f"gpu={gpus} and gres={found['gres']}: ask for GPUs by one of them")
        model = resources.get("gpu_model")
        extra["gpus-per-node"] = f"{model}:{gpus}" if model else gpus
    elif resources.get("gpu_model"):
        raise BadResource(f"gpu_model={resources['gpu_model']} without gpu: say how many")
    if extra:
        found["additional_parameters"] = extra
    return found


def machine_needs(resources: Mapping[str, Any], threads: int) -> dict[str, int]:
    """Return the minutes, cores and GPUs that a job asks of one machine. Raises BadResource, as sbatch_parameters."""
    if (nodes := _whole(resources, "nodes", least=1, default=1)) > 1:
        raise BadResource(f"nodes={nodes}: this is one machine")
    return {
        "minutes": _whole(resources, "runtime", least=1, default=DEFAULT_RUNTIME),
        "cores": _whole(resources, "cpus_per_task", least=1, default=threads),
        "gpus": _whole(resources, "gpu", least=0, default=0),
    }


def shared_name(rule: str, wildcards: Sequence[Mapping[str, str]]) -> str:
    """Return the name of an array in squeue: its rule, and each wildcard's value, * where that is not one for all.

    `rule` is the name of the rule, or of the group; `wildcards`, of each job of the array, all have the same names.
    """
    values = {name: {str(one.get(name)) for one in wildcards} for name in (wildcards[0] if wildcards else {})}
    words = [rule, *(f"{name}={found.pop() if len(found) == 1 else '*'}" for name, found in values.items())]
    return re.sub(r"[^\w.:=*+-]+", "_", ":".join(words))[:200]


def _whole(resources: Mapping[str, Any], name: str, least: int, default: int | None = None) -> int:
    value = resources.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadResource(f"{name}={value}: must be a whole number, at least {least}")
    return value


def _extra(text: str) -> dict[str, Any]:
    """Read slurm_extra, e.g. "--exclude=n1 --exclusive", as options by name."""
    options: dict[str, Any] = {}
    try:
        words = shlex.split(str(text))
    except ValueError as error:
        raise BadResource(f"slurm_extra={text!r}: {error}") from None
    for place, word in enumerate(words):
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            options[name] = value or True
        elif place and words[place - 1].startswith("--") and "=" not in words[place - 1]:
            options[words[place - 1][2:]] = word
        else:
            raise BadResource(f"slurm_extra={text!r}: must be long options, as --name=value")
    return options
