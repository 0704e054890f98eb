"""What a job asks for -> sbatch's options, or what is taken of one machine. Pure: no cluster is talked to.

The names of resources are those of the official SLURM plugin, so that a profile moves over.
"""

import difflib
import re
import shlex
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

DEFAULT_RUNTIME = 60
"""Minutes that a job gets which names no runtime."""
WORDS = {
    "slurm_partition": "partition", "slurm_account": "account", "slurm_qos": "qos", "qos": "qos",
    "constraint": "constraint", "gres": "gres", "reservation": "reservation", "clusters": "clusters",
    "cluster": "clusters", "slurm_cluster": "clusters",
}  # fmt: skip
"""Resources that reach sbatch as they are, and its options."""
NUMBERS = {
    "nodes": "nodes", "tasks": "ntasks", "tasks_per_node": "ntasks-per-node", "tasks_per_gpu": "ntasks-per-gpu",
    "cpus_per_gpu": "cpus-per-gpu",
}  # fmt: skip
"""Resources that are numbers, at least 1, and sbatch's options."""
SHORT = {
    "A": "account", "b": "begin", "B": "extra-node-info", "C": "constraint", "c": "cpus-per-task",
    "d": "dependency", "F": "nodefile", "G": "gpus", "H": "hold", "k": "no-kill", "L": "licenses", "M": "clusters",
    "m": "distribution", "N": "nodes", "n": "ntasks", "O": "overcommit", "p": "partition", "q": "qos",
    "S": "core-spec", "s": "oversubscribe", "t": "time", "w": "nodelist", "x": "exclude", "a": "array",
    "D": "chdir", "e": "error", "i": "input", "J": "job-name", "o": "output", "W": "wait",
}  # fmt: skip
"""sbatch's short options."""
OURS = {"array", "chdir", "error", "input", "job-name", "open-mode", "output", "parsable", "test-only", "wait", "wrap"}
"""Options by which this executor finds its jobs and what they leave."""
INSTEAD = {"time": "runtime", "cpus-per-task": "threads or cpus_per_task"}
"""Options that a job always has, and the resources that set them."""


class BadResource(Exception):  # noqa: N818 - the message says what is bad
    """A resource that no cluster could grant: one line with its name, its value and what is allowed."""


def sbatch_options(
    resources: Mapping[str, Any], threads: int, habits: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the options of sbatch for a job, by long name; those without a value are True.

    Args:
        resources: of the job: runtime (minutes), mem_mb (0: all of the node's), mem_mb_per_cpu, cpus_per_task, gpu (on
            each node), gpu_model, those in WORDS and NUMBERS, slurm_extra. Others are not SLURM's.
        threads: of the job; cpus_per_task where that is not given.
        habits: options that hold where the job does not name them.

    Raises:
        BadResource: for a value that is not a number where one is needed, too small, or in conflict with another; for
            an unknown slurm_*.

    """
    _check_names(resources)
    found: dict[str, Any] = {
        "time": _whole(resources, "runtime", least=1, default=DEFAULT_RUNTIME),
        "cpus-per-task": _whole(resources, "cpus_per_task", least=1, default=threads),
    }
    extra = _extra(str(resources.get("slurm_extra") or ""))
    if "cpus-per-gpu" in extra or resources.get("cpus_per_gpu") is not None:  # SLURM takes one of the two
        if resources.get("cpus_per_task") is not None:
            raise BadResource(f"cpus_per_task={resources['cpus_per_task']} beside cpus_per_gpu: give one of them")
        del found["cpus-per-task"]
    if resources.get("mem_mb_per_cpu") is not None:
        found["mem-per-cpu"] = f"{_whole(resources, 'mem_mb_per_cpu', least=1)}M"
    elif resources.get("mem_mb") is not None:
        found["mem"] = f"{_whole(resources, 'mem_mb', least=0)}M"
    numbers = {name: option for name, option in NUMBERS.items() if resources.get(name) is not None}
    found |= {option: _whole(resources, name, least=1) for name, option in numbers.items()}
    for name, option in WORDS.items():
        if (value := resources.get(name)) and found.setdefault(option, str(value)) != str(value):
            raise BadResource(f"{name}={value} beside another resource that says {found[option]}: give one of them")
    found |= _gpus(resources)
    for name in extra:
        if name in found:
            raise BadResource(f"slurm_extra: --{name} beside the resource that says {found[name]}: give one of them")
    if beside := [f"--{name}" for name in extra if name.startswith("mem-per-") and {"mem", "mem-per-cpu"} & set(found)]:
        raise BadResource(f"slurm_extra: {beside[0]} beside mem_mb or mem_mb_per_cpu: give one of them")
    if found.get("gpus-per-node") and (beside := {"gpus", "gpus-per-task", "gres"} & set(extra)):
        raise BadResource(f"slurm_extra: --{beside.pop()} beside gpu={resources['gpu']}: ask for GPUs by one of them")
    return dict(habits) | found | extra


def _check_names(resources: Mapping[str, Any]) -> None:
    known = [name for name in (*WORDS, "slurm_extra") if name.startswith("slurm_")]
    for name in resources.keys():  # noqa: SIM118 - Snakemake's own kind of mapping iterates over values
        if name.startswith("slurm_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f"; is {near[0]} meant?" if near else ""
            raise BadResource(f"{name}={resources[name]}: unknown{meant} (known: {', '.join(known)})")


def _gpus(resources: Mapping[str, Any]) -> dict[str, str]:
    gpus, model = _whole(resources, "gpu", least=0, default=0), resources.get("gpu_model")
    if gpus and resources.get("gres"):
        raise BadResource(f"gpu={gpus} and gres={resources['gres']}: ask for GPUs by one of them")
    if model and not gpus:
        raise BadResource(f"gpu_model={model} without gpu: say how many")
    return {"gpus-per-node": f"{model}:{gpus}" if model else str(gpus)} if gpus else {}


def machine_needs(resources: Mapping[str, Any], threads: int) -> dict[str, int]:
    """Return the minutes, cores and GPUs that a job asks of one machine. Raises BadResource, as sbatch_options."""
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
    """Read slurm_extra, e.g. "--exclude=n1 --exclusive -G 1", as options by long name."""
    options: dict[str, Any] = {}
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise BadResource(f"slurm_extra={text!r}: {error}") from None
    while words:
        word = words.pop(0)
        if word.startswith("--") and len(word) > 2:
            name, _, value = word[2:].partition("=")
        elif word[:1] == "-" and word[1:2] in SHORT:
            name, value = SHORT[word[1]], word[2:].removeprefix("=")
        else:
            raise BadResource(f"slurm_extra={text!r}: {word!r} is no option, as --name=value or -n value")
        if not value and words and not words[0].startswith("-"):
            value = words.pop(0)
        if name in OURS:
            raise BadResource(f"slurm_extra={text!r}: --{name} is set by this executor")
        if name in INSTEAD:
            raise BadResource(f"slurm_extra={text!r}: give --{name} as the resource {INSTEAD[name]}")
        if name in options:
            raise BadResource(f"slurm_extra={text!r}: --{name} stands twice")
        options[name] = value or True
    return options
