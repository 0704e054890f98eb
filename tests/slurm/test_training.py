"""A training in processes on two nodes of a private SLURM, through Snakemake, submitit and srun."""

import json
import shutil
import subprocess
import sys
import time

import pandas as pd

from tests.conftest import ROOT, copy_project
from tests.workflow.test_digits import TINY, write_config


def test_a_training_on_two_nodes_saves_when_it_is_told_to_stop_and_goes_on(cluster, dataset, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "slurm", project / "slurm")
    train = {"epochs": 20, "batch": 64, "precision": "float32"}
    train |= {"nodes": 2, "checkpoint_seconds": 0.2}
    write_config(project, TINY | {"train": train})
    shutil.copytree(dataset.parent, project / "results" / "tiny" / "fetch")
    folder = project / "results" / "tiny" / "train" / "standard"
    words = ["--profile", "slurm", "--submitit-poll-seconds", "1", "--submitit-max-timeouts", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *words, "--", "results/tiny/train/standard/model.safetensors"],
        cwd=project,
        env=cluster.environment | {"PYTHONPATH": f"{ROOT}/workflow/executor:{ROOT}/workflow/logger"},
        stderr=subprocess.PIPE,
        text=True,
    )
    job = "--name=train:experiment=tiny:model=standard"
    log = project / "results" / "tiny" / "logs" / "train" / "standard.log"

    def asked(form: str) -> str:
        return cluster.run("squeue", "-h", job, "-o", form).strip()

    def checkpoint_after(moment: float) -> bool:
        return any(p.stat().st_mtime > moment for p in folder.glob("checkpoints/[0-9a-f]*.checkpoint"))

    def started_again() -> bool:  # SLURM would wait for two minutes
        cluster.run("scontrol", "update", f"jobid={asked('%i')}", "StartTime=now")
        return asked("%T") != "PENDING"

    def told_by_signal() -> None:  # as before its time limit; but it comes so early that it can't be for that
        cluster.run("scancel", "--batch", "--signal=USR2", asked("%i"))

    def preempted() -> None:
        wide = ["--partition=urgent", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=4", "--output=/dev/null"]
        cluster.run("sbatch", *wide, "--wrap", "true")

    began = time.time()
    try:
        for stopped in (told_by_signal, preempted):
            cluster.wait_for(lambda since=began: checkpoint_after(since), 240)
            assert "2 processes" in log.read_text()
            stopped()
            cluster.wait_for(lambda: asked("%T") == "PENDING", 60)
            cluster.wait_for(lambda: log.read_text().count("told to stop: checkpoint saved at step") == 1, 60)
            cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--partition=urgent", "-o", "%i"), 60)
            began = time.time()
            time.sleep(3)  # in the second of its requeue, SLURM would not start it
            cluster.wait_for(started_again, 60)
        _, printed = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 0, printed
    assert "goes on from step" in log.read_text() and "Traceback" not in log.read_text()
    assert json.loads((folder / "summary.json").read_text())["processes"] == 2
    assert pd.read_csv(folder / "history.csv").epoch.tolist() == list(range(1, 21))
    (script,) = (text for text in (p.read_text() for p in project.glob("**/submission.sh")) if "=train:" in text)
    assert "--nodes=2" in script and "--gpus-per-node=1" in script
