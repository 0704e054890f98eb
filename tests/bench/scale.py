"""`make bench`: how planning grows with the classes, and how long ImageNet takes on 1 to 512 GPUs like this device.

Plans 6 views, 4 epsilons and 10, 100 and 1,000 classes (dry runs). A job's seconds are the work that config.yaml asks
for, over the rates that tests/bench/speed.py measured with ResNet-50 at 224 px on this machine: run it before. What a
simulation leaves out: queues, shared file systems, other GPUs than this device.
"""

import copy
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from pagoda.options.check import check_config
from tests.conftest import ROOT, copy_project

CLASSES = (10, 100, 1000)
VIEWS = [{"model": "adversarial-3", "sigma": 0}, {"model": "gaussian-1", "sigma": 1}]
"""Beside the four of config.yaml."""
IMAGENET = 1_281_167
"""Training pictures."""
FORWARD = 1 / 3
"""Time of a forward pass, in units of that of a gradient: convolutions forward, and twice as many operations back."""

WATCHED = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True)
sys.exit(status)
"""
"""Runs a command and prints its peak memory in KiB: from a process that is small, since a fork starts as large."""


def main() -> int:
    """Measure, print and keep; return an exit status."""
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for count in CLASSES:
            project, config = write_project(Path(folder) / str(count), count)
            jobs, seconds, peak = dry_run(project)
            rows.append((f"dry run, {count} classes", f"{seconds:.1f} s", f"{jobs} jobs, peak {peak:.0f} MB"))
        for what, value, how in rows:
            print(f"{what:<24}  {value:>8}  {how}")
        path = ROOT / "results" / "bench" / "scale.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("figure", "value", "how"), *rows])
        print(f"kept in {path.relative_to(ROOT)}")
        speed = ROOT / "results" / "bench" / "speed.csv"
        if not speed.is_file():
            print(f"makespan: no {speed.relative_to(ROOT)}; python -m tests.bench.speed writes it")
            return 0
        times = [f"{rule}={seconds:.1f}" for rule, seconds in job_seconds(config, rates(speed)).items()]
        print("\nmakespan, with seconds of a job", *times)
        command = [sys.executable, "workflow/makespan.py", "imagenet", "--seconds", *times]
        for wide in ([], ["--wide", "train=16"]):
            print(*wide)
            subprocess.run([*command, *wide], cwd=project, check=True)
        return 0


def write_project(folder: Path, classes: int) -> tuple[Path, dict]:
    """Write a project that runs ImageNet with so many classes (folders without pictures); return it and the config."""
    folder.mkdir()
    project = copy_project(folder)
    experiment = copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text())["experiments"]["imagenet"])
    names = [f"n{k:08d}" for k in range(classes)]
    for split in ("train", "test"):
        for name in names:
            (project / experiment["dataset"]["root"] / split / name).mkdir(parents=True)
    experiment["models"].append({"objective": "adversarial", "epsilon": 3, "attack_steps": 3, "attack_step": 2})
    experiment["ascend"] |= {"views": experiment["ascend"]["views"] + VIEWS, "epsilon": [5, 10, 20, 40]}
    experiment["ascend"]["classes"] = "all"
    experiment["montage"] = {"classes": names[:8]}
    config = {"run": ["imagenet"], "experiments": {"imagenet": experiment}}
    (project / "config.yaml").write_text(yaml.safe_dump(config))
    return project, config


def dry_run(project: Path) -> tuple[int, float, float]:
    """Return the jobs that a dry run plans, its seconds and its peak memory in MB."""
    began = time.perf_counter()
    command = [sys.executable, "-c", WATCHED, sys.executable, "-m", "snakemake", "-n"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    lines = done.stdout.splitlines()
    if done.returncode:
        raise RuntimeError("\n".join((lines + done.stderr.splitlines())[-5:]))
    total = next(int(line.split()[1]) for line in lines + done.stderr.splitlines() if line.startswith("total "))
    return total, seconds, int(lines[-1]) / 1024


def rates(speed: Path) -> dict[str, float]:
    """Return what was measured of ResNet-50: source-steps times draws a second, and training pictures a second."""
    with speed.open(encoding="utf-8") as file:
        found = {row["figure"]: row["value"] for row in csv.DictReader(file)}
    return {
        "ascend": float(found["ascend resnet50, source-steps x draws a second, ours"]),
        "train": float(found["train resnet50, images a second, ours"]),
    }


def job_seconds(config: dict, rate: dict[str, float]) -> dict[str, float]:
    """Return the seconds of one job of each rule, from the gradients (or forward passes) that it makes."""
    experiment = check_config(config)["imagenet"]
    ascend, certify, align = experiment.ascend, experiment.certify, experiment.align
    gradients = ascend.images * ascend.steps * ascend.draws
    checks = ascend.images * (2 * ascend.check_draws * FORWARD + 2 * ascend.draws)
    return {
        "train": experiment.train.epochs * IMAGENET / rate["train"],
        "certify": certify.images * certify.n * FORWARD / rate["ascend"],
        "ascend": (gradients + checks) / rate["ascend"],
        "align": max(CLASSES) * ascend.images * 2 * align.draws / rate["ascend"],
    }


if __name__ == "__main__":
    sys.exit(main())
