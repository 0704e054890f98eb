"""SLURM: arrays through submitit, one squeue and one sacct for all jobs. Parsing is apart from asking."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import submitit

from snakemake_executor_plugin_submitit.clusters import HOPELESS, Cluster, ExecutorSettings, Outage, Record, Refused
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.node import Command, deaf_to_the_terminal
from snakemake_executor_plugin_submitit.resources import sbatch_parameters

TRANSIENT = (
    *("Socket timed out", "Unable to contact slurm controller", "temporarily unable", "Connection refused"),
    *("Resource temporarily unavailable", "Communication connection failure", "Zero Bytes were transmitted"),
)
"""What sbatch says when it may take the same job a little later."""
LIMITS = ("MaxSubmitJob", "MaxJobs", "Job violates accounting/QOS policy")
"""What it says when there are too many jobs for now; an array counts as its tasks."""
NEVER = re.compile(r"BadConstraints|PartitionConfig|PartitionTimeLimit|(Assoc|QOS)Max\w*PerJob\w*")
"""Reasons for which squeue keeps a job pending that no wait will change."""
LEAKING = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")
"""Beginnings of variables that change what SLURM's commands do."""
CHUNK = 200
"""Jobs that one call names."""
FIELDS = "JobID,State,Elapsed,Timelimit,MaxRSS,ReqMem,TotalCPU,CPUTimeRAW"

_SUBMITTING = threading.Lock()
"""Held while our own environment is changed: the scheduler submits in one thread, what waited in another."""


class Slurm(Cluster):
    """The cluster whose login node this is."""

    name = "slurm"
    accounts = True
    needs = staticmethod(sbatch_parameters)

    def __init__(self, folder: Path, settings: ExecutorSettings):
        """Submit from `folder`, which the nodes see too. Raises Refused where this is no login node."""
        for program in ("srun", "sbatch", "squeue", "scancel"):
            if shutil.which(program) is None:
                raise Refused(f"no {program} on PATH: this is no SLURM login node (--submitit-cluster local runs here)")
        super().__init__(folder, settings)
        self.poll_seconds = settings.poll_seconds

    @cache  # noqa: B019 - there is one Slurm a run
    def largest(self) -> int:
        """Return the smaller of our own bound and the cluster's MaxArraySize."""
        try:
            theirs = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"), re.MULTILINE)
        except Outage:
            theirs = None
        return max(1, min(self.settings.max_array_size, int(theirs[1]) if theirs else self.settings.max_array_size))

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command]) -> dict[str, dict]:
        """Submit commands as one array, all or none; SLURM itself keeps account of what each was given."""
        extra = needs.get("additional_parameters", {})
        signalled: dict[str, Any] = {} if "no-requeue" in extra else {"requeue": True}
        # SLURM may send it a minute early: in a job that is shorter, it would come before the job is under way.
        if 60 * needs["time"] > self.settings.signal_seconds + 60:
            signalled["signal"] = f"B:USR2@{self.settings.signal_seconds}"
        executor = submitit.SlurmExecutor(
            self.folder, max_num_timeout=self.settings.max_timeouts, python=f"exec {shlex.quote(sys.executable)}"
        )
        try:
            with scrubbed(), deaf_to_the_terminal():
                executor.update_parameters(
                    **needs | {"additional_parameters": signalled | extra},
                    job_name=name,
                    use_srun=False,
                    stderr_to_stdout=True,
                    array_parallelism=self.settings.max_running,
                )
                return {handle.job_id: {} for handle in executor.submit_array(commands)}
        except Exception as error:  # of sbatch, whatever submitit makes of it: these jobs', not the workflow's
            for path in [*self.folder.glob("*.pkl"), *self.folder.glob(".submission_file_*")]:
                if "_" not in path.stem or path.name.startswith("."):  # no job's yet
                    path.unlink(missing_ok=True)
            reason = " ".join(str(error).split())[-400:]
            later, too_many = (any(said in reason for said in words) for words in (TRANSIENT, LIMITS))
            raise Refused(reason, later, too_many) from None

    def states(self, entries: Sequence[Entry]) -> dict[str, str]:
        """Return the state of each of the user's jobs and array tasks that SLURM's controller still knows."""
        words = ("--noheader", "--array", "--all", f"--user={os.getuid()}", "--states=all", "--format=%i|%T|%r")
        return parse_squeue(ask("squeue", *words))

    def accounted(self, ids: Iterable[str]) -> dict[str, Record]:
        """Return the accounting records of jobs and array tasks; a job that is too young has none."""
        ids, found = sorted(ids), {}
        for first in range(0, len(ids), CHUNK):
            listed = ",".join(ids[first : first + CHUNK])
            found |= parse_sacct(ask("sacct", "--noheader", "--parsable2", f"--format={FIELDS}", f"--jobs={listed}"))
        return found

    def cancel(self, ids: Iterable[str]) -> None:
        """Cancel jobs, in chunks; one that fails does not stop the others."""
        ids, outages = sorted(ids), []
        for first in range(0, len(ids), CHUNK):
            try:
                ask("scancel", *ids[first : first + CHUNK], seconds=60)
            except Outage as outage:
                outages.append(outage)
        if outages:
            raise outages[0]


def scrubbed_environment() -> dict[str, str]:
    """Return our environment without what a surrounding job or a habit put there; where SLURM's config is stays."""
    return {name: value for name, value in os.environ.items() if not name.startswith(LEAKING) or name == "SLURM_CONF"}


@contextlib.contextmanager
def scrubbed() -> Iterator[None]:
    """Hide the variables of a surrounding SLURM job from what is submitted. One thread at a time; no other moves."""
    with _SUBMITTING:
        hidden = {name: os.environ.pop(name) for name in set(os.environ) - set(scrubbed_environment())}
        try:
            yield
        finally:
            os.environ.update(hidden)


def ask(*words: str, seconds: float = 30) -> str:
    """Return what a SLURM command prints. Raises Outage where it fails or does not answer."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds, check=True, env=scrubbed_environment()
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise Outage(f"{words[0]}: {str(said).strip()}") from None
    return done.stdout


def parse_squeue(text: str) -> dict[str, str]:
    """Read lines of "id|STATE|reason"."""
    found = {}
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        state, _, reason = rest.partition("|")
        found[job] = f"{HOPELESS}{reason}" if state == "PENDING" and NEVER.fullmatch(reason) else state
    return found


def parse_sacct(text: str) -> dict[str, Record]:
    """Read lines of FIELDS: one a job, and one a step, which has the memory. A requeued job's last line counts.

    A job without a time limit is left out: accounting does not know all of it yet, e.g. "16?" for the memory it asked.
    """
    found: dict[str, Record] = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != FIELDS.count(",") + 1:
            continue
        name, state, elapsed, limit, memory, asked, cpu, cores = fields
        job, _, step = name.partition(".")
        if limit and not step:
            state = state.partition(" ")[0]  # "CANCELLED by 0"
            memory = found[job].memory if job in found else ""
            found[job] = Record(state, elapsed, limit, memory, asked, seconds_of(cpu), float(cores or 0))
        elif step and memory and job in found:
            found[job] = replace(found[job], memory=memory)
    return found


def seconds_of(text: str) -> float:
    """Read a duration of SLURM's, [D-][HH:]MM:SS[.mmm]; 0 where there is none."""
    days, _, clock = text.rpartition("-")
    try:
        parts = [float(part) for part in clock.split(":")]
        return 86400 * int(days or 0) + sum(value * 60**place for place, value in enumerate(reversed(parts)))
    except ValueError:
        return 0


def megabytes_of(text: str) -> float | None:
    """Read a size of SLURM's (812K, 1.50G; what is asked a core or node ends in c or n); None where there is none."""
    size = re.fullmatch(r"([\d.]+)([KMGT]?)[cn]?", text)
    return float(size[1]) * {"": 2**-20, "K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}[size[2]] if size else None
