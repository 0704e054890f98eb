"""Warm starts: a step that forks is the step that starts, in all that can be told from outside."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from steps.run.warm import VARIABLE, warm
from tests.conftest import ROOT, run_step

ASCENT = ["--target=3", "--sigma=0.5", "--epsilon=1", "--images=4", "--steps=3", "--step=0.5", "--draws=4"]


@pytest.fixture(scope="module", autouse=True)
def served():
    with warm() as server:
        yield psutil.Process(server.pid)


def ascend(model, dataset, out, environment, *more):
    flags = ["--model", model, "--data", dataset, "--out", out, *ASCENT, "--check-draws=8", *more]
    began = time.perf_counter()
    return run_step("ascend", *flags, env=environment), time.perf_counter() - began


def test_a_fork_writes_the_same_bytes_sooner(model, dataset, tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ascend(model, dataset, tmp_path / "first.npz", environment)  # waits until all is imported
    forked, seconds = ascend(model, dataset, tmp_path / "forked.npz", environment)
    started, cold_seconds = ascend(model, dataset, tmp_path / "started.npz", environment | {VARIABLE: "0"})
    assert forked.returncode == started.returncode == 0, forked.stderr
    assert (tmp_path / "forked.npz").read_bytes() == (tmp_path / "started.npz").read_bytes()
    assert "python -m steps.ascend --model" in forked.stderr and seconds < cold_seconds


def test_bad_input_and_unknown_flags_end_as_they_would(model, dataset, tmp_path):
    out = tmp_path / "out.npz"
    bad, _ = ascend(model, dataset, out, os.environ, "--images=0")
    assert bad.returncode == 2 and "error: images is 0: must be at least 1" in bad.stderr
    unknown, _ = ascend(model, dataset, out, os.environ, "--colour=red")
    assert unknown.returncode == 2 and "unrecognized arguments: --colour=red" in unknown.stderr
    assert not out.exists()


def train(dataset, out):
    command = [sys.executable, "-m", "steps.train", "--data", str(dataset), "--out", str(out / "model.safetensors")]
    command += ["--architecture=fast_resnet", "--width=4", "--objective=standard", "--epochs=500", "--batch=32"]
    command += ["--learning-rate=0.1", "--checkpoint-seconds=0.05"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not list(out.glob("checkpoints/[0-9a-f]*.checkpoint")) and time.monotonic() < until:
        time.sleep(0.01)
    return process


def test_a_signal_reaches_the_fork_and_its_end_comes_back(dataset, tmp_path):
    process = train(dataset, tmp_path)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143 and "checkpoint saved at step" in said


def test_a_killed_fork_is_a_failure(dataset, tmp_path, served):
    process = train(dataset, tmp_path)
    (fork,) = served.children()
    fork.kill()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGKILL


def test_where_nobody_answers_a_step_starts_by_itself(model, dataset, tmp_path):
    done, _ = ascend(model, dataset, tmp_path / "out.npz", os.environ | {VARIABLE: str(tmp_path / "nobody")})
    assert done.returncode == 0 and (tmp_path / "out.npz").is_file()
