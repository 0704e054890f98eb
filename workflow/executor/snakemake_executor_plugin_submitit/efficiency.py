"""What each rule used of what it asked for, from SLURM's accounting, as CSV."""

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from snakemake_executor_plugin_submitit.clusters import ALIVE, Record
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.slurm import megabytes_of, seconds_of


def write(path: Path, jobs: Sequence[tuple[str, Entry]], ask: Callable[[Sequence[Entry]], dict[str, Record]]) -> None:
    """Ask for the records of all jobs, wait for those that lag, and write the table as CSV.

    `jobs` have their rules' names beside them; `ask` returns records by name, as far as there are any. Raises Outage
    where accounting does not answer, OSError where the file can't be written.
    """
    entries = [entry for _, entry in jobs]
    until = time.monotonic() + 30  # seconds that accounting may lag behind the jobs' ends
    while True:
        records = {name: record for name, record in ask(entries).items() if record.state not in ALIVE}
        if len(records) == len(jobs) or time.monotonic() > until:
            break
        time.sleep(2)
    rules = defaultdict(list)
    for rule, entry in jobs:
        rules[rule].append(records.get(entry.name))
    rows = [_row(rule, found) for rule, found in sorted(rules.items())]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _row(rule: str, jobs: list[Record | None]) -> dict:
    """Return the row of a rule, over those of its jobs that SLURM accounted for.

    cpu_efficiency is CPU time over cores held times seconds, memory_efficiency the mean of most resident over asked
    for (jobs that SLURM never sampled are left out); both are empty where nothing was accounted.
    """
    known = [record for record in jobs if record]
    used, held = (sum(getattr(record, name) for record in known) for name in ("cpu_seconds", "core_seconds"))
    memory = [(megabytes_of(record.memory), record.asked_mb) for record in known]
    memory = [(most, asked) for most, asked in memory if most is not None and asked]
    seconds = [seconds_of(record.elapsed) for record in known]
    return {
        "rule": rule,
        "jobs": len(jobs),
        "failed": sum(record.state != "COMPLETED" for record in known),
        "accounted": len(known),
        "cpu_efficiency": f"{used / held:.3f}" if held else "",
        "memory_efficiency": f"{sum(most / asked for most, asked in memory) / len(memory):.3f}" if memory else "",
        "most_memory_mb": f"{max(most for most, _ in memory):.0f}" if memory else "",
        "longest_seconds": f"{max(seconds):.0f}" if seconds else "",
        "mean_seconds": f"{sum(seconds) / len(seconds):.1f}" if seconds else "",
    }
