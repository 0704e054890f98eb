"""What a cluster is to the executor: it takes commands, says what became of them, cancels them; and the settings."""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

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
NEVER = re.compile(
    r"\b(BadConstraints|PartitionConfig|PartitionTimeLimit|MaxMemPerLimit|DependencyNeverSatisfied|InvalidAccount"
    r"|InvalidQOS|QOSNotAllowed|AccountNotAllowed|(Assoc|QOS)Max\w*Per(Job|Node)\w*|QOSMin\w*)\b"
)
"""Reasons for which SLURM keeps a job waiting, or does not take it, that no wait will change.

PartitionNodeLimit is none: it is also said while nodes that a job needs are down.
"""


class Seen(NamedTuple):
    """A job's state in the queue, in SLURM's words, and the reason for which it waits."""

    state: str
    reason: str = ""


class Outage(Exception):  # noqa: N818 - SLURM's, not ours
    """The cluster did not answer: that says nothing of any job."""


class Refused(Exception):  # noqa: N818 - the message is the cluster's reason
    """The cluster did not take jobs; `later`: it may take them another time, `too_many`: or fewer of them.

    `unsure`: it may have taken them all the same. `sent` is then the folder in which they were submitted.
    """

    def __init__(self, reason: str, later: bool = False, too_many: bool = False, unsure: bool = False, sent: str = ""):
        """Keep the cluster's own words."""
        super().__init__(reason)
        self.later, self.too_many, self.unsure, self.sent = later or too_many, too_many, unsure, sent


@dataclass(frozen=True)
class Taken:
    """A job that the cluster took: its id, the folder of its submission, what it was given, SLURM's cluster."""

    job_id: str
    folder: str
    held: dict = field(default_factory=dict)
    where: str = ""


@dataclass(frozen=True)
class Record:
    """What a cluster accounted for a job.

    `memory` (the most resident of a process of any step) and `asked` as SLURM prints them (e.g. 812M), `elapsed` and
    `limit` likewise ([D-]HH:MM:SS); `asked_mb` on a node; `cpu_seconds` used, and `core_seconds` held.
    """

    state: str
    elapsed: str = ""
    limit: str = ""
    memory: str = ""
    asked: str = ""
    asked_mb: float | None = None
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
    signal_seconds: int = field(
        default=90, metadata={"help": "seconds before its limit at which a job is told to save: it has 20"}
    )
    poll_seconds: int = field(default=10, metadata={"help": "seconds between two looks at SLURM"})
    lost_seconds: int = field(default=120, metadata={"help": "seconds after which a job SLURM forgot is given up"})
    pending_warn: int = field(default=60, metadata={"help": "minutes of waiting after which SLURM's reason is told"})
    keep_days: int = field(default=30, metadata={"help": "days that logs and submission scripts are kept; 0: for ever"})
    efficiency: str = field(
        default="", metadata={"help": "a CSV to write at the end: what each rule used of what it asked for"}
    )

    def faults(self) -> list[str]:
        """Return a line for each number that is too small."""
        least = {"max_timeouts": 0, "lost_seconds": 0, "keep_days": 0}
        numbers = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        return [
            f"--submitit-{name.replace('_', '-')} {value}: must be at least {least.get(name, 1)}"
            for name, value in numbers.items()
            if value < least.get(name, 1)
        ]


class Cluster:
    """Where jobs run. A job's needs are JSON; jobs with the same needs may be submitted together."""

    name: str
    poll_seconds = 0.3
    """Between two looks; this is for our own processes."""
    accounts = False
    """Whether there is accounting of jobs."""
    notes: Sequence[str] = ()
    """What to tell at the start."""

    def __init__(self, folder: Path, settings: ExecutorSettings):
        """Submit from `folder`, which the nodes see too. Raises Refused where this is no place to submit from."""
        self.folder, self.settings = folder, settings

    def largest(self, needs: Mapping[str, Any]) -> int:
        """Return how many jobs with these needs one submission may hold."""
        return sys.maxsize

    def needs(self, resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """Return what a job needs. Raises BadResource."""
        raise NotImplementedError

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command], sent: str = "") -> list[Taken]:
        """Submit commands; return those taken, the first ones.

        `sent`: where the same commands were submitted before, with an answer that was unsure. Raises Refused where
        none can be taken.
        """
        raise NotImplementedError

    def begin(self, taken: Sequence[Taken]) -> None:
        """Let jobs begin that were taken, now that they are noted."""

    def states(self, entries: Sequence[Entry]) -> dict[str, Seen]:
        """Return the state of each job that is known here, by its entry's name. Raises Outage."""
        raise NotImplementedError

    def accounted(self, entries: Sequence[Entry]) -> dict[str, Record]:
        """Return accounting records, by the entries' names, as far as there are any. Raises Outage."""
        return {}

    def cancel(self, entries: Sequence[Entry]) -> None:
        """Cancel jobs. Raises Outage."""
