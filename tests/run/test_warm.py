"""Warm starts: a step that forks is the step that starts, in all that can be told from outside."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from pagoda.run.warm import VARIABLE, warm
from tests.conftest import ROOT, run_step

ASCENT = ["--target=3", "--sigma=0.5", "--epsilon=1", "--images=4", "--steps=3", "--step=0.5", "--draws=4"]


@pytest.fixture(scope="module", autouse=True)
def served():
    with warm() as server:
        assert Path(os.environ[VARIABLE]).is_socket()  # from the start: a step that comes at once waits, and is forked
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


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_reaches_the_fork_and_its_end_comes_back(model, dataset, tmp_path, served, how):
    flags = ["--model", model, "--data", dataset, "--out", tmp_path / "out.npz", *ASCENT, "--steps=100000"]
    command = [sys.executable, "-m", "steps.ascend", *map(str, flags), "--check-draws=8", "--log", tmp_path / "log"]
    process = subprocess.Popen(command, cwd=ROOT)
    until = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < until:
        time.sleep(0.01)
    (fork,) = served.children()
    if how == signal.SIGKILL:
        fork.kill()
    else:
        process.send_signal(how)
    assert process.wait(timeout=60) == 128 + how
    _, alive = psutil.wait_procs([fork], timeout=10)
    assert not alive and not (tmp_path / "out.npz").exists()


def test_a_killed_command_takes_its_fork_along(model, dataset, tmp_path, served):
    flags = ["--model", model, "--data", dataset, "--out", tmp_path / "out.npz", *ASCENT, "--steps=100000"]
    command = [sys.executable, "-m", "steps.ascend", *map(str, flags), "--check-draws=8", "--log", tmp_path / "log"]
    process = subprocess.Popen(command, cwd=ROOT)
    until = time.monotonic() + 60
    while not (tmp_path / "log").exists() and time.monotonic() < until:
        time.sleep(0.01)
    forks = served.children()
    process.kill()
    process.wait(timeout=10)
    _, alive = psutil.wait_procs(forks, timeout=10)
    assert len(forks) == 1 and not alive


def test_where_nobody_answers_a_step_starts_by_itself(model, dataset, tmp_path):
    done, _ = ascend(model, dataset, tmp_path / "out.npz", os.environ | {VARIABLE: str(tmp_path / "nobody")})
    assert done.returncode == 0 and (tmp_path / "out.npz").is_file()
