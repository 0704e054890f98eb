"""`make bench`: this executor beside snakemake-executor-plugin-slurm, in one run on one private SLURM.

Prints a table and keeps it in results/bench/executor.csv. As root, on a machine without a SLURM of its own: the peer
looks for slurm.conf in /etc/slurm.
"""

import argparse
import contextlib
import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from heads import PLUGIN
from private_slurm import PrivateSlurm, why_not

ROOT = PLUGIN.parents[1]
PEER = ROOT / ".venv" / "bench"
ETC = Path("/etc/slurm")
LONGEST = 1800
"""Seconds after which a contender is given up."""
COUNTED = ("sbatch", "squeue", "sacct", "scontrol", "scancel", "sinfo")
OURS = ["--executor", "submitit", "--submitit-cluster", "slurm"]
CONTENDERS = {  # ten jobs of a group go one after the other in one SLURM job: Snakemake's own pilot
    "submitit (ours)": OURS,
    "submitit (ours), groups of 10": [
        *OURS,
        *("--groups", "work=some", "--group-components", "some=10"),
        *("--resources", "abreast=1", "--set-resource-scopes", "abreast=local"),
    ],
    "slurm": ["--executor", "slurm"],
    "slurm, arrays": ["--executor", "slurm", "--slurm-array-jobs", "all"],
}
TRIVIAL = """
rule all:
    input: expand("out/{{k}}.txt", k=range({jobs}))

rule work:
    output: "out/{{k}}.txt"
    resources: mem_mb=300, runtime=5, abreast=1, slurm_account="root", slurm_partition="main"
    shell: "{python} -I -S {script} > {{output}}"
"""
LARGE = """
CLASSES, EPSILONS, VIEWS = range(1000), range(4), range(5)

rule all:
    input: expand("out/{v}/{e}/{c}.txt", c=CLASSES, e=EPSILONS, v=VIEWS)

rule ascend:
    output: "out/{v}/{e}/{c}.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch {output}"
"""
OVERHEAD = '''
"""Print the seconds since the first process of this SLURM job began."""
import os

mine, ticks, began = os.environ["SLURM_JOB_ID"], os.sysconf("SC_CLK_TCK"), []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/environ") as file:
            if f"SLURM_JOB_ID={mine}\\0" not in file.read():
                continue
        with open(f"/proc/{pid}/stat") as file:
            began.append(int(file.read().rpartition(")")[2].split()[19]) / ticks)
    except OSError:
        pass
with open("/proc/uptime") as file:
    print(float(file.read().split()[0]) - min(began))
'''


class Calls:
    """Wrappers of SLURM's commands, first on PATH, that note each call and its time."""

    def __init__(self, folder: Path, path: str):
        """Write the wrappers into `folder`; `path` is where the real commands are looked for."""
        self.log, self.bin = folder / "calls", folder / "bin"
        self.bin.mkdir(parents=True)
        for name in COUNTED:
            program = self.bin / name
            program.write_text(
                f'#!/bin/bash\necho {name} $EPOCHREALTIME >> {self.log}\nexec {shutil.which(name, path=path)} "$@"\n'
            )
            program.chmod(0o755)

    def times(self, name: str) -> list[float]:
        """Return when `name` was called, seconds since the epoch."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [float(line.split()[1]) for line in lines if line.split()[0] == name]


def main() -> int:
    """Run what was asked for; return an exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=300, help="trivial jobs (default: %(default)s)")
    parser.add_argument("--only", nargs="*", default=[*CONTENDERS, "large"], help="contenders, and `large`")
    asked = parser.parse_args()
    if (reason := why_not()) is not None:
        print(f"no private SLURM, so no figures of the executor: {reason}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-") as name, started(Path(name) / "slurm") as cluster:
        rows = []
        for contender, words in CONTENDERS.items():
            if contender in asked.only:
                rows.append({"contender": contender} | trivial(cluster, Path(name), contender, words, asked.jobs))
                print(rows[-1], flush=True)
        if "large" in asked.only:
            print(large(cluster, Path(name)), flush=True)
    keep(rows)
    return 0


@contextlib.contextmanager
def started(folder: Path) -> Iterator[PrivateSlurm]:
    """Start a private SLURM whose configuration is in /etc/slurm too, where there is none."""
    ETC.mkdir(exist_ok=True)
    with PrivateSlurm(folder, max_array_size=1001) as cluster:
        links = [ETC / name for name in ("slurm.conf", "gres.conf") if not (ETC / name).exists()]
        try:
            for link in links:
                link.symlink_to(folder / link.name)
            yield cluster
        finally:
            for link in links:
                link.unlink()


def trivial(cluster: PrivateSlurm, folder: Path, contender: str, words: list[str], jobs: int) -> dict:
    """Run `jobs` trivial jobs; return what that took, or why it did not work."""
    peer = "submitit" not in contender
    if peer and not (PEER / "snakemake_executor_plugin_slurm").is_dir():
        return {"note": "not installed: make .venv/bench"}
    if peer and (ETC / "slurm.conf").resolve().parent != cluster.folder:
        return {"note": f"{ETC}/slurm.conf is not ours: its jobs would look there"}
    place = folder / f"run-{list(CONTENDERS).index(contender)}"
    calls = Calls(place, cluster.environment["PATH"])
    (place / "overhead.py").write_text(OVERHEAD)
    (place / "Snakefile").write_text(TRIVIAL.format(jobs=jobs, python=sys.executable, script=place / "overhead.py"))
    command = [sys.executable, "-m", "snakemake", *words, "--jobs", str(2 * jobs)]
    began = time.time()
    with (place / "said").open("w") as said:
        try:
            status = subprocess.call(
                command, cwd=place, env=surroundings(cluster, calls, peer), stdout=said, stderr=said, timeout=LONGEST
            )
        except subprocess.TimeoutExpired:
            status = "none (too long)"
    ended = time.time()
    outputs = list((place / "out").glob("*.txt"))
    if status != 0 or len(outputs) != jobs:
        said = " ".join((place / "said").read_text().split())
        return {"note": f"exit status {status}, {len(outputs)} of {jobs} outputs: {said[-300:]}"}
    overheads = sorted(float(path.read_text()) for path in outputs)
    counts = {name: len(calls.times(name)) for name in COUNTED}
    asking = counts["squeue"] + counts["sacct"] + counts["scontrol"]
    return {
        "jobs": jobs,
        "last_output_s": round(max(path.stat().st_mtime for path in outputs) - began, 1),
        "exit_s": round(ended - began, 1),
        **counts,
        "asking_per_minute": round(60 * asking / (ended - began), 1),
        "overhead_median_s": round(statistics.median(overheads), 2),
        "overhead_p90_s": round(overheads[int(0.9 * len(overheads))], 2),
    }


def large(cluster: PrivateSlurm, folder: Path) -> dict:
    """Plan 20,000 jobs, then submit the first 500 of them to a partition that is down."""
    place = folder / "large"
    calls = Calls(place, cluster.environment["PATH"])
    (place / "Snakefile").write_text(LARGE)
    planned = [sys.executable, "-m", "snakemake", "-n", "--quiet", "all"]
    began = time.time()
    process = subprocess.Popen(planned, cwd=place, env=surroundings(cluster, calls), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    found = {"dry_run_s": round(time.time() - began, 1), "dry_run_peak_mb": used.ru_maxrss // 1024, "status": status}
    cluster.run("scontrol", "update", "partitionname=main", "state=down")
    submitted = [sys.executable, "-m", "snakemake", *OURS, "--jobs", "500", "--quiet", "all"]
    began = time.time()
    process = subprocess.Popen(submitted, cwd=place, env=surroundings(cluster, calls), stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: calls.times("sbatch"), 1800)
    found["first_sbatch_s"] = round(calls.times("sbatch")[0] - began, 1)
    cluster.wait_for(lambda: len(cluster.run("squeue", "-h", "--array", "-o", "%i").split()) >= 500, 600)
    found["first_500_queued_s"] = round(time.time() - began, 1)
    peak = next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line)
    found["submission_peak_mb"] = int(peak.split()[1]) // 1024
    process.send_signal(signal.SIGINT)
    process.wait(300)
    cluster.run("scontrol", "update", "partitionname=main", "state=up")
    return found


def surroundings(cluster: PrivateSlurm, calls: Calls, peer: bool = False) -> dict[str, str]:
    """Return the environment of a run whose calls are counted. The peer calls scontrol where it is only imported."""
    plugins = str(PEER if peer else PLUGIN)
    return cluster.environment | {"PATH": f"{calls.bin}:{cluster.environment['PATH']}", "PYTHONPATH": plugins}


def keep(rows: list[dict]) -> None:
    """Write the rows and, below them, their ratios to ours."""
    path = ROOT / "results" / "bench" / "executor.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    ours = next((row for row in rows if "ours" in row["contender"] and "jobs" in row), None)
    for row in rows:
        if ours and "jobs" in row and row is not ours:
            wall, sent = (ours[name] / row[name] for name in ("last_output_s", "sbatch"))
            print(f"ours / {row['contender']}: wall to the last output {wall:.2f}, sbatch 1/{1 / sent:.0f}")
    print(f"kept in {path}")


if __name__ == "__main__":
    sys.exit(main())
