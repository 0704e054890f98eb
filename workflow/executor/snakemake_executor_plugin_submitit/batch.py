"""Jobs on their way to the cluster."""

import contextlib
import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake.io import is_flagged
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface

from snakemake_executor_plugin_submitit.clusters import Cluster, Refused
from snakemake_executor_plugin_submitit.node import Command
from snakemake_executor_plugin_submitit.resources import BadResource, shared_name

PATIENCE = 12
"""Refusals for a limit after which a submission is given up, where no job of ours can be what is too many."""


@dataclass(frozen=True)
class Member:
    """A job, the command that runs it on a node, and its key in the journal."""

    job: JobExecutorInterface
    command: Command
    key: str
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Jobs with the same needs, sent together: not `before` a time (monotonic), after `tries` refusals.

    Nor while jobs `after` whose end they come are there still: those write the same files. `sent` is the folder of an
    earlier try that the cluster may have taken. `full`: refusals for a limit that no job of ours can have filled.
    """

    rule: str
    needs: dict
    after: tuple[str, ...]
    members: list[Member]
    tries: int = 0
    before: float = 0
    sent: str = ""
    full: int = 0

    @property
    def name(self) -> str:
        """What squeue shows."""
        return shared_name(self.rule, [wildcards_of(member.job) for member in self.members])

    def again(self, refused: Refused, wait: float, ours: bool) -> list["Batch"]:
        """Return what to try later, in halves where there were too many; nothing where trying again is no use.

        `refused` is what the cluster said, `wait` the seconds before the second try; `ours`: whether jobs of this run
        are in the cluster's queue. Each wait is twice the one before, 300 s at most. After PATIENCE refusals for a
        limit, a submission is given up where no job of ours can be what is too many.
        """
        full = self.full + 1 if refused.too_many and not ours else 0
        if not refused.later or full > PATIENCE:
            return []
        half = -(-len(self.members) // 2) if refused.too_many else len(self.members)
        before = time.monotonic() + min(wait * 2 ** min(self.tries, 10), 300)
        parts = [part for part in (self.members[:half], self.members[half:]) if part]
        told = {"tries": self.tries + 1, "before": before, "sent": refused.sent, "full": full}
        return [replace(self, members=part, **told) for part in parts]


def members_of(job: JobExecutorInterface) -> list[JobExecutorInterface]:
    """Return the jobs of a group, or the job that is none."""
    return list(job.jobs) if job.is_group() else [job]


def place_of(job: JobExecutorInterface) -> str:
    """Return the folder's name for the logs of a job's attempts: its wildcards; for a group {its first}+{others}."""
    places = sorted(",".join(f"{k}={v}" for k, v in wildcards_of(member).items()) for member in members_of(job))
    place = places[0].replace("/", "|").encode()[:200].decode(errors="ignore") or str(job.jobid)
    return place if len(places) == 1 else f"{place}+{len(places) - 1}"


def wildcards_of(job: JobExecutorInterface) -> dict[str, str]:
    """Return the wildcards of a job; a group has none."""
    return dict(getattr(job, "wildcards_dict", None) or {})


def key_of(job: JobExecutorInterface) -> tuple[str, tuple[str, ...]]:
    """Return a hash of what a job makes, how, and of what, and what it makes.

    For the outputs of a job that has none stands what it does. Inputs count with the time at which they were written,
    but for those that are `ancient`: a job that read them before they were made anew is another one.
    """
    members = members_of(job)
    outputs = {name for one in members for name in map(str, one.output or [f"{one.name}: {way_of(one)}"])}
    files = set(outputs)
    for path in {str(path) for one in members for path in one.input if not is_flagged(path, "ancient")} - outputs:
        with contextlib.suppress(OSError):  # it may be elsewhere, in a storage
            stamp = Path(path, ".snakemake_timestamp")  # a directory's own time changes with what is in it
            files.add(f"{path} {(stamp if stamp.exists() else Path(path)).stat().st_mtime_ns}")
    asked = [job.name, sorted(files), sorted(map(way_of, members))]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:24], tuple(sorted(outputs))


def way_of(job: JobExecutorInterface) -> str:
    """Return how a job makes what it makes: its shell command, or what its code, parameters and inputs are."""
    if job.shellcmd is not None:
        return str(job.shellcmd)
    code = [str(getattr(job.rule, "run_func_src", None)), str(getattr(job.rule, "wrapper", None))]
    if path := job.rule.script or job.rule.notebook:
        with contextlib.suppress(OSError, AttributeError):  # no file here: its name must do
            path = Path(job._path_to_source_file(path).get_path_or_uri(secret_free=True)).read_text(errors="replace")
        code.append(str(path))
    return json.dumps(
        [*code, sorted(map(str, job.params.items())), [str(value) for value in (*job.params, *job.input)]]
    )


def faults_of(jobs: Iterable[JobExecutorInterface], cluster: Cluster) -> list[str]:
    """Return a line for each rule that asks for what no cluster could grant, as far as one of its jobs tells."""
    found, seen = [], set()
    for job in jobs:
        if job.name in seen or job.is_local:
            continue
        seen.add(job.name)
        try:
            known = {name: value for name, value in job.resources.items() if str(value) != "<TBD>"}
        except Exception:  # a function of what is not there yet: Snakemake's to tell, when its turn comes
            continue
        try:
            cluster.needs(known, job.threads)
        except BadResource as fault:
            found.append(f"rule {job.name}: {fault}")
    return found
