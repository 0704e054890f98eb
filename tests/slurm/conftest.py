"""A private SLURM for each module of tests, and a folder of rules to run on it."""

import getpass
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slurm.private import PrivateSlurm, why_not


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    private = PrivateSlurm(tmp_path_factory.mktemp("slurm"), kill_beyond_memory=True)
    try:
        private.start()
        yield private
    finally:
        private.stop()


@pytest.fixture
def project(tmp_path, cluster):
    """A folder with a Snakefile of trivial rules; `work` sleeps, appends to a file of its own, or fails, as asked."""

    def write(rules: str) -> Path:
        (tmp_path / "Snakefile").write_text(rules)
        return tmp_path

    yield write
    cluster.run("scancel", f"--user={getpass.getuser()}")  # what a failed test left behind


def command(*words: str) -> list[str]:
    polling = ["--submitit-poll-seconds", "1", "--submitit-lost-seconds", "20", "--latency-wait", "5"]
    return [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "200", *polling, *words]


def environment(cluster: PrivateSlurm) -> dict[str, str]:
    plugin = str(ROOT / "workflow" / "executor")
    return cluster.environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), plugin])}


def run(cluster: PrivateSlurm, folder: Path, *words: str, seconds: float = 150) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*words), cwd=folder, env=environment(cluster), capture_output=True, text=True, timeout=seconds
    )


def start(cluster: PrivateSlurm, folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        command("out.txt", *words), cwd=folder, env=environment(cluster), stderr=subprocess.PIPE, text=True
    )


def write_program(path: Path, before: str) -> Path:
    """Write a program that does something and then what the SLURM command of its name does."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/bash\n{before}\nexec {shutil.which(path.name)} "$@"\n')
    path.chmod(0o755)
    return path


def start_requeued_now(cluster: PrivateSlurm) -> None:
    """Start the requeued job, for which SLURM waits two minutes; not in the same second, when it would refuse it."""
    time.sleep(3)
    job = cluster.run("squeue", "-h", "--name=work", "-o", "%i").strip()
    cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")
