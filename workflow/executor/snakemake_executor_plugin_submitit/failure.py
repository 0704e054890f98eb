"""How a job ended, in a few lines for a person."""

from pathlib import Path

from snakemake_executor_plugin_submitit.clusters import Record
from snakemake_executor_plugin_submitit.journal import Entry

TAIL = 15
"""Lines of a failed job's log that its error shows."""


def explain(entry: Entry, state: str, status: str | None, record: Record | None) -> str:
    """Return what a person needs to know of a failed job.

    Args:
        entry: the job.
        state: in which it ended, in SLURM's words.
        status: the exit status that it left, if any.
        record: its accounting, if there is any.

    """
    exited = f", exit status {status}" if status and status.isdigit() else ""
    lines = [f"{entry.cluster} job {entry.job_id}: {state}{exited}"]
    if record is not None:
        lines.append(f"memory {record.memory or 'unknown'} of {record.asked}, ran {record.elapsed} of {record.limit}")
    logs = sorted(Path(entry.log).glob(f"{entry.job_id}.*.log"))
    if logs:
        last = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
        lines += [f"log: {logs[-1]}", *(f"    {line}" for line in last)]
    elif entry.cluster == "slurm":
        lines.append(f"no log: it did not begin, or its node does not see {entry.folder}")
    return "\n".join(lines) + "\n"
