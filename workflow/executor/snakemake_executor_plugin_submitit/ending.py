"""How a job ended: from what it left behind, what the queue says and what was accounted. Pure but for its log."""

import contextlib
from pathlib import Path

from snakemake_executor_plugin_submitit.clusters import ALIVE, HOPELESS, Record
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.slurm import megabytes_of


def state_of(status: str | None, queued: str | None, record: Record | None, accounts: bool) -> tuple[str, bool]:
    """Return the state in which a job ended, and whether that is sure already; "" while somebody says that it runs.

    `status` is the exit status that it left, "TIMEOUT", or None, `queued` its state as the queue says, if that still
    knows it, `record` its accounting, if there is any (yet); `accounts`: whether this cluster keeps accounts.
    """
    state = queued or (record.state if record else "")
    if status == "TIMEOUT":
        return status, True
    if state.startswith(HOPELESS) or state == "PREEMPTED":  # not requeued, or not yet
        return state, False
    if state in ALIVE:
        return "", False
    if not state:
        return ("FAILED" if status is not None else "LOST (SLURM no longer knows it)"), False
    if state == "COMPLETED":
        return "COMPLETED, but the file that says so is not to be seen from here", False
    if state in ("FAILED", "CANCELLED") and status in (None, "137") and accounts:
        # Without cgroups, SLURM's own watch kills what is beyond its memory, process after process, and calls that a
        # failure; the last may have seen the first end. Accounting tells, some seconds after the queue.
        if record is None or record.state in ALIVE:
            return state, False
        most, asked = megabytes_of(record.memory), megabytes_of(record.asked)
        state = f"OUT_OF_MEMORY (SLURM says {state})" if most and asked and most > asked else state
    return state, True


def explain(entry: Entry, state: str, status: str | None, record: Record | None) -> str:
    """Return what a person needs to know of a failed job, which ended in `state`, in SLURM's words.

    `status` is the exit status that it left, if any, `record` its accounting, if there is any.
    """
    exited = f", exit status {status}" if status and status.isdigit() else ""
    lines = [f"{entry.cluster} job {entry.job_id}: {state}{exited}"]
    if record is not None:
        lines.append(f"memory {record.memory or 'unknown'} of {record.asked}, ran {record.elapsed} of {record.limit}")
    logs = sorted(Path(entry.log).glob(f"{entry.job_id}.*.log"))
    if logs:
        lines += [f"log: {logs[-1]}", *tail(logs[-1])]
    elif entry.cluster == "slurm":
        wrapper = sorted(Path(entry.folder).glob(f"{entry.job_id}_*_log.*"))
        none = f"no log: it did not begin, or its node does not see {entry.folder}"
        lines += tail(wrapper[-1]) if wrapper else [none]
    return "\n".join(lines) + "\n"


def tail(path: Path) -> list[str]:
    """Return the last 15 lines of a file, indented; none where it can't be read."""
    with contextlib.suppress(OSError):
        return [f"    {line}" for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]]
    return []
