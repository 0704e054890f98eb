"""Trainings in several processes, over gloo on the CPU."""

import dataclasses
import os
import re
import subprocess
import sys
import time

import pandas as pd
import psutil
import pytest
import torch

from pagoda.errors import BadInput
from pagoda.nets.model import load_model
from pagoda.run.command import _parser
from pagoda.run.launch import flags_of, launch
from steps import train
from tests.conftest import ROOT, run_step
from tests.nets.test_training import small_training, take_steps
from tests.test_train import config

START = "import sys; from pagoda.run.launch import start; sys.exit(start(sys.argv[2:], int(sys.argv[1]), []))"


def several(processes: int, *words: object) -> subprocess.Popen:
    """Start a module in several processes, as `launch` does, but on a machine without GPUs."""
    command = [sys.executable, "-c", START, str(processes), *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=environment)


def finished(process: subprocess.Popen) -> tuple[int, str]:
    """Return the exit status and what was said, when all processes have ended."""
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


def wait_for(met, seconds: float = 60):
    until = time.monotonic() + seconds
    while not (found := met()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def checkpoint_in(folder):
    return lambda: list(folder.glob("checkpoints/[0-9a-f]*.checkpoint"))


def test_processes_that_share_batches_take_the_steps_of_one(tmp_path):
    # Batch norm in eval mode: else each process would normalise its own rows. Of 21 and 2 rows, shares differ.
    status, said = finished(several(3, "tests.run.steps_in_group", tmp_path / "states"))
    assert status == 0, said
    states = torch.load(tmp_path / "states")
    for objective in ("gaussian", "smoothadv"):
        for name, value in take_steps(small_training(objective)).items():
            torch.testing.assert_close(states[objective][name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.fixture(scope="module")
def shared(dataset, tmp_path_factory):
    """A whole training in two processes: its config, and what it said."""
    asked = config(dataset, tmp_path_factory.mktemp("shared"), batch=64, learning_rate=0.2, epochs=8)
    status, said = finished(several(2, "steps.train", *flags_of(asked)))
    assert status == 0, said
    return asked, said


def test_a_training_in_two_processes_has_the_curve_of_one(shared, tmp_path):
    asked, said = shared
    alone = dataclasses.replace(asked, out=tmp_path / "m" / "model.safetensors")
    summary = train.run(alone)
    one, two = (pd.read_csv(where.out.with_name("history.csv")) for where in (alone, asked))
    assert two.epoch.tolist() == one.epoch.tolist() and two.learning_rate.tolist() == one.learning_rate.tolist()
    assert (two.loss - one.loss).abs().max() < 0.2 and two.loss.iloc[-1] < 0.6 * two.loss.iloc[0]
    accuracy = float(re.search(r"noisy_accuracy (\S+)", said)[1])
    low, high = summary["noisy_accuracy_95"]
    assert low - 0.03 < accuracy < high + 0.03
    assert "2 processes" in said and said.count("device: cpu") == 1  # the first speaks for both
    weights = load_model(asked.out, torch.device("cpu"))
    assert weights.identity == load_model(alone.out, torch.device("cpu")).identity
    assert len(list(asked.out.parent.glob("checkpoints/*"))) == 1


def test_told_to_stop_all_save_at_the_same_step_and_go_on_to_the_same_network(shared, tmp_path):
    whole, _ = shared
    asked = dataclasses.replace(whole, out=tmp_path / "m" / "model.safetensors", checkpoint_seconds=0.05)
    process = several(2, "steps.train", *flags_of(asked))
    wait_for(checkpoint_in(asked.out.parent))
    process.terminate()
    status, said = finished(process)
    assert status == 143 and said.count("told to stop: checkpoint saved at step") == 1, said
    status, said = finished(several(2, "steps.train", *flags_of(asked)))
    assert status == 0 and "goes on from step" in said
    assert asked.out.read_bytes() == whole.out.read_bytes()


@pytest.mark.parametrize("which", ["a process", "the launcher"])
def test_when_one_is_killed_all_end_and_the_same_command_goes_on_in_any_number(shared, tmp_path, which):
    whole, _ = shared
    asked = dataclasses.replace(whole, out=tmp_path / "m" / "model.safetensors", checkpoint_seconds=0.05)
    process = several(2, "steps.train", *flags_of(asked))
    wait_for(checkpoint_in(asked.out.parent))
    started = psutil.Process(process.pid).children(recursive=True)
    workers = [one for one in started if "steps.train" in one.cmdline() and "pagoda.run.launch" not in one.cmdline()]
    assert len(workers) == 2
    (workers[1] if which == "a process" else process).kill()
    status, said = finished(process)
    assert status == (-9 if which == "the launcher" else 137), said
    assert "Traceback" not in said and ("SIGKILL ended process 1" in said) == (which == "a process")
    assert not psutil.wait_procs(started, timeout=30)[1] and not asked.out.exists()
    again = run_step("train", *flags_of(asked), env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert again.returncode == 0 and "goes on from step" in again.stderr


def test_what_all_processes_find_wrong_is_said_once(dataset, tmp_path):
    log = tmp_path / "logs" / "train.log"
    words = [*flags_of(config(dataset, tmp_path, epochs=1, learning_rate=1e12)), f"--log={log}"]
    status, printed = finished(several(2, "steps.train", *words))
    assert status == 2 and "Traceback" not in printed
    said = r"error: the loss is (nan|inf) in epoch 1: learning_rate 1e\+12 is too high"
    assert len(re.findall(said, printed)) == len(re.findall("error", printed)) == 1, printed
    assert len(re.findall(said, log.read_text())) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpus": 2}, r"^gpus is 2, but 0 are visible on this machine"),
        ({"gpus": 0}, r"^gpus is 0: must be at least 1$"),
        ({"gpus": 3, "nodes": 2}, r"^batch is 32, which gpus 3 x nodes 2 = 6 processes cannot share equally"),
        ({"nodes": 2}, r"^nodes is 2, but this is no SLURM job: run with --profile slurm, or set nodes to 1$"),
    ],
)
def test_numbers_that_make_no_group_are_refused(dataset, tmp_path, monkeypatch, changes, said):
    monkeypatch.delenv("SLURM_JOB_NODELIST", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(BadInput, match=said):
        train.run(config(dataset, tmp_path, **changes))


def test_another_number_of_nodes_than_slurm_allocated_is_refused(dataset, tmp_path, monkeypatch):
    for program, does in (("srun", "exit 1"), ("scontrol", "echo n7")):
        (tmp_path / program).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "n7")
    with pytest.raises(BadInput, match="nodes is 2, but SLURM allocated 1 to this job: n7"):
        launch("train", config(dataset, tmp_path), processes=1, nodes=2)


def test_the_flags_of_a_config_make_the_same_config(dataset, tmp_path):
    asked = config(dataset, tmp_path, flip=True, weight_decay=1e-05, seed=-3)
    parsed = vars(_parser("train", train.Config).parse_args(flags_of(asked)))
    assert train.Config(**{name: value for name, value in parsed.items() if name not in ("code", "log")}) == asked
