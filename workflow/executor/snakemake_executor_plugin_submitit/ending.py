"""How a job ended: from what it left behind, what the queue says and what was accounted. Pure but for its logs."""

import contextlib
import re
from pathlib import Path

from snakemake_executor_plugin_submitit.clusters import ALIVE, HOPELESS, NEVER, Record, Seen
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.slurm import megabytes_of

KILLED = re.compile(r"exceeded memory limit|oom[-_]kill|Out Of Memory|cgroup out-of-memory", re.IGNORECASE)
"""What SLURM writes into a job's output when it kills for memory."""
SHOWN = 15
"""Lines of a failed job's log."""
BEFORE = re.compile(
    "-- job .*, attempt |Building DAG of jobs|Using shell: |Provided [a-z ]+: |Rules claiming more threads "
    r"|Select jobs to execute|Execute \d+ jobs|\[\w{3} \w{3} [ \d]\d [\d:]{8} \d{4}\]$|Shell command: |host: \S+$"
    r"|Assuming unrestricted shared |Finished jobid: |\d+ of \d+ steps |Not cleaning up |Removing output files of "
    r"|Shutting down, this might |Exiting because a job execution failed|Complete log\(s\)|Elapsed time: [\d:.]+$"
    r"|WorkflowError:$|At least one job did not complete "
)
"""Beginnings of lines of the Snakemake that runs on the node."""
BLOCKS = {
    re.compile(r"(local)?(rule|checkpoint) \S+:$"): re.compile(r" {4}[a-z_]+: |\s*$"),
    re.compile(r"Error in (group|rule) "): re.compile(r" |\s*$"),
}
"""Beginnings of its blocks, and of the lines below that belong to them."""


def state_of(
    status: str | None, queued: Seen | None, record: Record | None, killed: bool, accounts: bool
) -> tuple[str, bool]:
    """Return the state in which a job ended, and whether that is sure already; "" while it is in the queue.

    `status` is the exit status that it left, "TIMEOUT", or None, `queued` what the queue says, if that still knows it,
    `record` its accounting, if there is any (yet); `killed`: whether its output says that it was killed for memory;
    `accounts`: whether this cluster keeps accounts.
    """
    if queued and hopeless(queued):
        return f"{HOPELESS}{queued.reason}", False
    if may_run(queued):
        return "", False
    if status == "TIMEOUT":
        return status, True
    state = queued.state if queued else record.state if record else ""
    if state == "PREEMPTED":  # not requeued, or not yet
        return state, False
    lost = "LOST (SLURM no longer knows it)"
    if state in ALIVE:  # accounting is late, or never heard of its end
        state, lost = "", f"LOST (squeue no longer knows it; accounting says {state})"
    if killed and state in ("FAILED", "CANCELLED", ""):  # parts may have seen others end, and have left any status
        return f"OUT_OF_MEMORY (SLURM says {state or 'nothing'})", True
    if not state:
        return ("FAILED" if status is not None else lost), False
    if state == "COMPLETED":
        return "COMPLETED, but the file that says so is not to be seen from here", False
    if state in ("FAILED", "CANCELLED") and status in (None, "137") and accounts:
        # Killed by whom? Accounting may tell, some seconds after the queue.
        if record is None or record.state in ALIVE:
            return state, False
        most = megabytes_of(record.memory)
        state = f"OUT_OF_MEMORY (SLURM says {state})" if most and record.asked_mb and most > record.asked_mb else state
    return state, True


def hopeless(queued: Seen) -> bool:
    """Tell whether SLURM holds a job that it would never start."""
    return queued.state == "PENDING" and NEVER.fullmatch(queued.reason) is not None


def may_run(queued: Seen | None) -> bool:
    """Tell whether a job may still run (again), as far as the cluster says."""
    return queued is not None and queued.state in ALIVE


def may_have_ended(queued: Seen | None) -> bool:
    """Tell whether to look for what a job left: SLURM may be hours about completing one that has ended."""
    return not may_run(queued) or hopeless(queued) or queued.state == "COMPLETING"


def killed_for_memory(entry: Entry) -> str:
    """Return SLURM's line in the job's own output that says so; "" where there is none. It needs no accounting."""
    for path in outputs_of(entry):
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                if KILLED.search(line):
                    return line.strip()
    return ""


def outputs_of(entry: Entry) -> list[Path]:
    """Return the files to which SLURM itself writes what a job says outside of its attempts' logs."""
    return sorted(Path(entry.folder).glob(f"{entry.job_id}_*_log.*"))


def explain(entry: Entry, state: str, status: str | None, record: Record | None, killed: str = "") -> str:
    """Return what a person needs to know of a failed job, which ended in `state`, in SLURM's words.

    `status` is the exit status that it left, if any, `record` its accounting, if there is any, `killed` what SLURM
    said when it killed it for memory.
    """
    exited = f", exit status {status}" if status and status.isdigit() else ""
    lines = [f"{entry.cluster} job {entry.name}: {state}{exited}"]
    if record is not None:
        lines.append(f"memory {record.memory or 'unknown'} of {record.asked}, ran {record.elapsed} of {record.limit}")
    lines += [killed] if killed else []
    logs = sorted(Path(entry.log).glob(f"{entry.job_id}.*.log"), key=lambda path: int(path.suffixes[-2][1:]))
    if logs:
        lines += [f"log: {logs[-1]}", *tail(logs[-1])]
    elif entry.cluster == "slurm":
        wrapper = outputs_of(entry)
        none = f"no log: it did not begin, or its node does not see {entry.folder}"
        lines += tail(wrapper[-1]) if wrapper else [none]
    return "\n".join(lines) + "\n"


def tail(path: Path) -> list[str]:
    """Return the last lines that a job's program wrote to a file, indented; none where it can't be read."""
    with contextlib.suppress(OSError):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        return [f"    {line}" for line in (program_lines(lines) or lines)[-SHOWN:]]
    return []


def program_lines(lines: list[str]) -> list[str]:
    """Return the lines that are not those of the Snakemake that ran the program on the node."""
    found, inside = [], None
    for before, line in zip(["", *lines], lines, strict=False):
        if below := next((below for first, below in BLOCKS.items() if first.match(line)), None):
            inside = below
        elif not (inside and inside.match(line)):
            inside = None
            if line.strip() and not BEFORE.match(line) and not before.startswith("Removing output files of "):
                found.append(line)
    return found
