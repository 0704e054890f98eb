"""What each rule used of what it asked for, from SLURM's accounting, as CSV."""

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from snakemake_executor_plugin_submitit.clusters import ALIVE, Record
from snakemake_executor_plugin_submitit.slurm import megabytes_of, seconds_of


def write(path: Path, rules: Mapping[str, str], ask: Callable[[Iterable[str]], dict[str, Record]]) -> None:
    """Ask for the records of all jobs, wait for those that lag, and write the table as CSV.

    `rules` are those of the jobs, by id; `ask` returns records by id, as far as there are any. Raises Outage where
    accounting does not answer, OSError where the file can't be written.
    """
    until = time.monotonic() + 30  # seconds that accounting may lag behind the jobs' ends
    while True:
        records = {job_id: record for job_id, record in ask(rules).items() if record.state not in ALIVE}
        if len(records) == len(rules) or time.monotonic() > until:
            break
        time.sleep(2)
    jobs = defaultdict(list)
    for job_id, rule in rules.items():
        jobs[rule].append(records.get(job_id))
    rows = [_row(rule, found) for rule, found in sorted(jobs.items())]
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
    memory = [(megabytes_of(record.memory), megabytes_of(record.asked)) for record in known]
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
