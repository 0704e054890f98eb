"""What SLURM says of our jobs: one squeue and one sacct for all of them. Parsing is apart from asking."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

ALIVE = {
    *("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED"),
    *("RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "SPECIAL_EXIT", "RESV_DEL_HOLD", "PREEMPTED"),
}
"""States of a job that may still run (again)."""
CHUNK = 200
"""Jobs that one call names."""

_SUBMITTING = threading.Lock()
"""Held while our own environment is changed: the scheduler submits in one thread, what waited in another."""


class Outage(Exception):  # noqa: N818 - SLURM's, not ours
    """SLURM did not answer: that says nothing of any job."""


@dataclass(frozen=True)
class Record:
    """A line of accounting: `memory` and `asked` as SLURM prints them (e.g. 812M), `elapsed` and `limit` likewise."""

    state: str
    exit_code: str = ""
    elapsed: str = ""
    limit: str = ""
    memory: str = ""
    asked: str = ""


def scrubbed_environment() -> dict[str, str]:
    """Return our environment without what a surrounding SLURM job put there; where SLURM's config is stays."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_")) or k == "SLURM_CONF"}


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


def queued(user: str) -> dict[str, str]:
    """Return the state of each of the user's jobs and array tasks that SLURM's controller still knows."""
    return parse_squeue(ask("squeue", "--noheader", "--array", "--user", user, "--states=all", "--format=%i|%T"))


def accounted(ids: Iterable[str]) -> dict[str, Record]:
    """Return the accounting records of jobs and array tasks; a job that is too young has none."""
    ids, found = sorted(ids), {}
    for first in range(0, len(ids), CHUNK):
        listed = ",".join(ids[first : first + CHUNK])
        fields = "JobID,State,ExitCode,Elapsed,Timelimit,MaxRSS,ReqMem"
        found |= parse_sacct(ask("sacct", "--noheader", "--parsable2", f"--format={fields}", f"--jobs={listed}"))
    return found


def parse_squeue(text: str) -> dict[str, str]:
    """Read lines of "id|STATE"."""
    return dict(line.strip().split("|") for line in text.splitlines() if "|" in line)


def parse_sacct(text: str) -> dict[str, Record]:
    """Read lines of "id|state|exit|elapsed|limit|maxrss|reqmem": one a job, and one a step, which has the memory."""
    found: dict[str, Record] = {}
    for line in text.splitlines():
        name, state, exit_code, elapsed, limit, memory, asked = line.strip().split("|")
        job, _, step = name.partition(".")
        state = state.split()[0] if state else ""  # "CANCELLED by 0"
        if not step:
            found[job] = Record(state, exit_code, elapsed, limit, found[job].memory if job in found else "", asked)
        elif memory and job in found:
            old = found[job]
            found[job] = Record(old.state, old.exit_code, old.elapsed, old.limit, memory, old.asked)
    return found


def cancel(ids: Iterable[str]) -> None:
    """Cancel jobs, in chunks. Raises Outage where SLURM does not answer."""
    ids = sorted(ids)
    for first in range(0, len(ids), CHUNK):
        ask("scancel", *ids[first : first + CHUNK], seconds=60)
