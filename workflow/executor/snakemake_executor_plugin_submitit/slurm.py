"""SLURM: one array a submission, one squeue and one sacct for all jobs of a cluster. Parsing is apart from asking."""

import contextlib
import itertools
import os
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_submitit.clusters import (
    ALIVE,
    Cluster,
    ExecutorSettings,
    Outage,
    Record,
    Refused,
    Seen,
    Taken,
)
from snakemake_executor_plugin_submitit.journal import Entry, name_of
from snakemake_executor_plugin_submitit.node import Command
from snakemake_executor_plugin_submitit.resources import sbatch_options
from snakemake_executor_plugin_submitit.sbatch import SCRIPT, Sbatch, ids_of, let_begin

LEAKING = ("SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_")
"""Beginnings of variables that change what SLURM's commands do."""
HABITS = {
    "SBATCH_PARTITION": "partition", "SBATCH_ACCOUNT": "account", "SBATCH_QOS": "qos",
    "SBATCH_RESERVATION": "reservation", "SLURM_CLUSTERS": "clusters", "SBATCH_CLUSTERS": "clusters",
}  # fmt: skip
"""Variables by which people say where their jobs belong, and sbatch's options."""
CHUNK = 200
"""Jobs that one call names."""
FIELDS = "JobID,State,Elapsed,Timelimit,MaxRSS,ReqMem,TotalCPU,CPUTimeRAW,AllocCPUS,NNodes"


class Slurm(Cluster):
    """The clusters that this login node submits to."""

    name = "slurm"
    accounts = True

    def __init__(self, folder: Path, settings: ExecutorSettings):
        """Submit from `folder`, which the nodes see too. Raises Refused where this is no login node."""
        for program in ("srun", "sbatch", "squeue", "scancel"):
            if shutil.which(program) is None:
                raise Refused(f"no {program} on PATH: this is no SLURM login node (--submitit-cluster local runs here)")
        super().__init__(folder, settings)
        self.poll_seconds = settings.poll_seconds
        self.known: set[tuple[str, str]] = set()
        self.habits, self.notes = habits(os.environ)

    def needs(self, resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """Return sbatch's options for a job, by long name."""
        return sbatch_options(resources, threads, self.habits)

    def largest(self, needs: Mapping[str, Any]) -> int:
        """Return the smaller of our own bound and the clusters' MaxArraySize."""
        sizes = [self.settings.max_array_size]
        for where in needs.get("clusters", "").split(","):
            with contextlib.suppress(Outage):
                sizes += max_array_size(where)
        return max(1, min(sizes))

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command], sent: str = "") -> list[Taken]:
        """Submit commands as one array, all or none; SLURM itself keeps account of what each was given."""
        where = needs.get("clusters", "")
        if sent and (found := self._find(Path(sent), name, where, len(commands))):
            return found
        options: dict[str, Any] = {} if "no-requeue" in needs else {"requeue": True}
        # SLURM may send it a minute early: in a job that is shorter, it would come before the job is under way.
        if 60 * needs["time"] > self.settings.signal_seconds + 60:
            options["signal"] = f"B:USR2@{self.settings.signal_seconds}"
        folder = self.folder / uuid.uuid4().hex[:12]
        try:
            executor = Sbatch(folder, self.settings.max_timeouts)
            ids, where = executor.send(name, options | needs, commands, self.settings.max_running, scrubbed())
        except Refused as refused:
            if not refused.unsure:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            if found := self._find(folder, name, where, len(commands)):
                return found
            raise Refused(
                f"{refused} (SLURM may have them: they are looked for first)", True, sent=str(folder)
            ) from None
        return self._taken(folder, ids, where)

    def begin(self, taken: Sequence[Taken]) -> None:
        """Let jobs begin: until now they waited for their pickles. One that nobody noted ends without having run."""
        for job in taken:
            let_begin(Path(job.folder), job.job_id)

    def _find(self, sent: Path, name: str, where: str, tasks: int) -> list[Taken]:
        """Return the jobs that SLURM took though sbatch did not say so. Raises Refused where SLURM does not say.

        None where one of them has ended: they wait a minute for their pickles, and it had none.

        They show the script of their submission; where a site's wrapper sends another, the youngest of that name counts
        that was sent from here since, and is not known yet.
        """
        script = sent / SCRIPT
        since = datetime.fromtimestamp(script.stat().st_mtime - 60).isoformat()  # clocks differ
        found: list[tuple[bool, str, str, str]] = []
        over: set[tuple[str, str]] = set()
        try:
            for cluster in where.split(","):
                said = ask("squeue", *_on(cluster), *_MINE, "--format=%F|%T|%V|%j|%Z|%o")
                for job_id, state, at, called, place, shown in (
                    row.split("|") for row in said.split("\n") if row.count("|") == 5
                ):
                    ours = shown.strip() == str(script)
                    alike = (called, place) == (name, str(Path.cwd())) and at > since and Path(shown).name != SCRIPT
                    if ours or (alike and (job_id, cluster) not in self.known):
                        found.append((ours, at, job_id, cluster))
                        over |= set() if state in ALIVE else {(job_id, cluster)}
        except Outage as outage:
            raise Refused(f"SLURM may have them, and does not say: {outage}", later=True, sent=str(sent)) from None
        *_, job_id, cluster = max(found, default=("", ""))
        if not found or (job_id, cluster) in over:
            return []
        return self._taken(sent, ids_of(job_id, tasks), cluster)

    def _taken(self, folder: Path, ids: list[str], where: str) -> list[Taken]:
        self.known.add((ids[0].partition("_")[0], where))
        return [Taken(job_id, str(folder), {}, where) for job_id in ids]

    def states(self, entries: Sequence[Entry]) -> dict[str, Seen]:
        """Return the state of each of the user's jobs and array tasks that SLURM's controllers still know."""
        found = {}
        for where in {entry.where for entry in entries}:
            found |= parse_squeue(ask("squeue", *_on(where), *_MINE, "--array", "--format=%i|%T|%r"), where)
        return found

    def accounted(self, entries: Sequence[Entry]) -> dict[str, Record]:
        """Return the accounting records of jobs and array tasks; a job that is too young has none."""
        found: dict[str, Record] = {}
        for where, ids in _chunks(entries):
            words = ("--noheader", "--parsable2", f"--format={FIELDS}", f"--jobs={','.join(ids)}")
            found |= parse_sacct(ask("sacct", *_on(where), *words), where)
        return found

    def cancel(self, entries: Sequence[Entry]) -> None:
        """Cancel jobs, in chunks; one that fails does not stop the others."""
        outages = []
        for where, ids in _chunks(entries):
            try:
                ask("scancel", *_on(where), *ids, seconds=60)
            except Outage as outage:
                outages.append(outage)
        if outages:
            raise outages[0]


_MINE = ("--noheader", "--all", f"--user={os.getuid()}", "--states=all")


def _on(where: str) -> tuple[str, ...]:
    """Return the words that name a cluster; the default one needs none."""
    return (f"--clusters={where}",) if where else ()


def _chunks(entries: Sequence[Entry]) -> Iterator[tuple[str, list[str]]]:
    """Yield clusters with ids of jobs, CHUNK at most."""
    on: Callable[[Entry], str] = lambda entry: entry.where  # noqa: E731
    for where, some in itertools.groupby(sorted(entries, key=on), on):
        ids = sorted(entry.job_id for entry in some)
        for first in range(0, len(ids), CHUNK):
            yield where, ids[first : first + CHUNK]


def habits(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return what a person has set for all their submissions, by sbatch's long name, and what to say of it.

    Inside a SLURM job it is dropped: those may be the surrounding job's.
    """
    found = {name: environment[name] for name in HABITS if environment.get(name)}
    said = ", ".join(f"{name}={value}" for name, value in found.items())
    if "SLURM_JOB_ID" in environment:
        return {}, [f"inside SLURM job {environment['SLURM_JOB_ID']}: {said} does not hold"] if found else []
    return {HABITS[name]: value for name, value in found.items()}, (
        [f"{said}: for jobs whose resources do not say otherwise"] if found else []
    )


def scrubbed() -> dict[str, str]:
    """Return our environment without what a surrounding job or a habit put there; where SLURM's config is stays."""
    return {name: value for name, value in os.environ.items() if not name.startswith(LEAKING) or name == "SLURM_CONF"}


def ask(*words: str, seconds: float = 30) -> str:
    """Return what a SLURM command prints. Raises Outage where it fails or does not answer."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=seconds, check=True, env=scrubbed()
        )
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", None) or error
        raise Outage(f"{words[0]}: {str(said).strip()}") from None
    return done.stdout


@cache  # an outage is not kept
def max_array_size(where: str) -> list[int]:
    """Return the MaxArraySize of a cluster, or nothing where it has none. Raises Outage."""
    said = re.search(r"^MaxArraySize\s*=\s*(\d+)", ask("scontrol", *_on(where), "show", "config"), re.MULTILINE)
    return [int(said[1])] if said else []


def parse_squeue(text: str, where: str = "") -> dict[str, Seen]:
    """Read lines of "id|STATE|reason"; among several clusters, a line names each."""
    rows = (line.strip().split("|", 2) for line in text.splitlines() if line.count("|") >= 2)
    return {name_of(job, where): Seen(state, reason) for job, state, reason in rows}


def parse_sacct(text: str, where: str = "") -> dict[str, Record]:
    """Read lines of FIELDS: one a job, and one a step, which has the memory. A requeued job's last line counts.

    A job without a time limit is left out: accounting does not know all of it yet, e.g. "16?" for the memory it asked.
    """
    found: dict[str, Record] = {}
    for line in text.splitlines():
        fields = line.strip().split("|")
        if len(fields) != FIELDS.count(",") + 1:
            continue
        name, state, elapsed, limit, memory, asked, cpu, core_seconds, cores, nodes = fields
        job, _, step = name.partition(".")
        job = name_of(job, where)
        if limit and not step:
            state = state.partition(" ")[0]  # "CANCELLED by 0"
            most = found[job].memory if job in found else ""
            a_node = asked_on_a_node(asked, int(cores or 1), int(nodes or 1))
            found[job] = Record(state, elapsed, limit, most, asked, a_node, seconds_of(cpu), float(core_seconds or 0))
        elif step and job in found and (megabytes_of(memory) or 0) > (megabytes_of(found[job].memory) or 0):
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
    """Read a size of SLURM's (812K, 1.50G); None where there is none."""
    size = re.fullmatch(r"([\d.]+)([KMGT]?)", text)
    return float(size[1]) * {"": 2**-20, "K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}[size[2]] if size else None


def asked_on_a_node(text: str, cores: int, nodes: int) -> float | None:
    """Return the MB that a job asked for on a node; `text` is of all nodes, before 21.08 of a core (1Gc) or node."""
    size = megabytes_of(text.rstrip("cn"))
    if size is None:
        return None
    return size * {"c": cores / nodes, "n": 1}.get(text[-1], 1 / nodes)
