"""What a cluster is to the executor: it takes commands, says what became of them, cancels them; and the settings."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase

from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.node import Command

ALIVE = {
    *("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"),
    *("RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "PREEMPTED"),
}
"""States of a job that may still run (again), in SLURM's words."""
HOPELESS = "HOPELESS: "
"""What the state of a job begins with that SLURM holds and would never start; its reason follows."""


def may_run(state: str | None) -> bool:
    """Tell whether a job in this state may still run (again), as far as the cluster says."""
    return state is not None and (state in ALIVE or state.startswith(HOPELESS))


class Outage(Exception):  # noqa: N818 - SLURM's, not ours
    """The cluster did not answer: that says nothing of any job."""


class Refused(Exception):  # noqa: N818 - the message is the cluster's reason
    """The cluster did not take jobs; `later`: it may take them another time, `too_many`: or fewer of them."""

    def __init__(self, reason: str, later: bool = False, too_many: bool = False):
        """Keep the cluster's own words."""
        super().__init__(reason)
        self.later, self.too_many = later or too_many, too_many


@dataclass(frozen=True)
class Record:
    """What a cluster accounted for a job.

    `memory` (the most resident) and `asked` as SLURM prints them (e.g. 812M), `elapsed` and `limit` likewise
    ([D-]HH:MM:SS); `cpu_seconds` used, and `core_seconds` held.
    """

    state: str
    elapsed: str = ""
    limit: str = ""
    memory: str = ""
    asked: str = ""
    cpu_seconds: float = 0
    core_seconds: float = 0


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Settings on the command line, as ``--submitit-max-array-size``."""

    cluster: str = field(
        default="auto",
        metadata={"help": "slurm; local: this machine's cores and GPUs; debug: in-process; auto: slurm where there is"},
    )
    max_array_size: int = field(default=500, metadata={"help": "jobs in one SLURM array at most"})
    max_running: int = field(default=256, metadata={"help": "tasks of one array that run at once at most"})
    max_timeouts: int = field(default=3, metadata={"help": "times a job is requeued at its time limit"})
    signal_seconds: int = field(default=90, metadata={"help": "seconds before its limit in which a job saves its work"})
    poll_seconds: int = field(default=10, metadata={"help": "seconds between two looks at SLURM"})
    lost_seconds: int = field(default=120, metadata={"help": "seconds after which a job SLURM forgot is given up"})
    efficiency: str = field(
        default="", metadata={"help": "a CSV to write at the end: what each rule used of what it asked for"}
    )


class Cluster:
    """Where jobs run. A job's needs are JSON; jobs with the same needs may be submitted together."""

    name: str
    poll_seconds = 0.3
    """Between two looks; this is for our own processes."""
    accounts = False
    """Whether there is accounting of jobs."""

    def __init__(self, folder: Path, settings: ExecutorSettings):
        """Submit from `folder`, which the nodes see too. Raises Refused where this is no place to submit from."""
        self.folder, self.settings = folder, settings

    def largest(self) -> int:
        """Return how many jobs one submission may hold."""
        return sys.maxsize

    def needs(self, resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """Return what a job needs. Raises BadResource."""
        raise NotImplementedError

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command]) -> dict[str, dict]:
        """Submit commands; return the ids of those taken, the first ones, with what each was given (see Entry.held).

        Raises Refused where none can be taken.
        """
        raise NotImplementedError

    def states(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return the state of each job that is known here, by id, in SLURM's words. Raises Outage."""
        raise NotImplementedError

    def accounted(self, ids: Iterable[str]) -> dict[str, Record]:
        """Return accounting records, by id, as far as there are any. Raises Outage."""
        return {}

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel jobs. Raises Outage."""
