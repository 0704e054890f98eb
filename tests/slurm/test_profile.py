"""A small experiment with the SLURM profile, on a private SLURM."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, copy_project
from tests.workflow.test_digits import write_config


def test_the_profile_runs_the_tiny_experiment(cluster, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "slurm", project / "slurm")
    write_config(project)
    targets = ["results/tiny/montage/class=3.png", "results/tiny/certified_accuracy.png"]
    words = ["--profile", "slurm", "--submitit-poll-seconds", "1", "--set-scatter", "certify=2"]
    env = cluster.environment | {"PYTHONPATH": f"{ROOT}/workflow/executor:{ROOT}/workflow/logger"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--", *targets],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((project / target).is_file() for target in targets)
    assert len(list(project.glob("results/tiny/certify/*/*/?-of-2.tsv"))) == 2
    # Two ascents for the montage, one after the other in one SLURM job with one GPU.
    logs = list(project.glob(".snakemake/submitit/logs/ascents_tiny_ascend/*+1/*.log"))
    assert len(logs) == 1 and logs[0].read_text().count("Finished jobid") == 2
    peaks = [
        table.read_text().splitlines()[1].split("\t")[2] for table in project.glob("**/benchmarks/ascend/**/*.tsv")
    ]
    # Megabytes, of the command alone: what imports PyTorch itself has hundreds ("NA": it was too short to see).
    assert len(peaks) == 2 and all(peak == "NA" or float(peak) < 100 for peak in peaks), peaks
    (script,) = (text for text in map(Path.read_text, project.glob("**/submission.sh")) if "ascents" in text)
    assert "--gpus-per-node=1" in script and "--time=20" in script and "--mem=6000M" in script
