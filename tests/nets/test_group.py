"""Trainings in several processes, over gloo on the CPU."""

import os
import re
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch

from pagoda.nets.model import load_model
from pagoda.run.warm import warm
from steps import train
from tests.conftest import ROOT, changed, run_step
from tests.nets.test_training import small_training, take_steps
from tests.test_train import config, flags


@pytest.fixture(scope="module", autouse=True)
def served():
    with warm():
        yield


def one_thread() -> dict[str, str]:
    """Return the environment of a process with one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def several(processes: int, *words: object) -> subprocess.Popen:
    """Start a module in several processes of this machine."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={processes}",
        "-m",
        "--",
        *map(str, words),
    ]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=one_thread())


def finished(process: subprocess.Popen) -> tuple[int, str]:
    """Return the exit status and what was said, when all processes have ended."""
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, said


def test_processes_that_share_batches_take_the_steps_of_one(tmp_path):
    # Batch norm in eval mode: else each process would normalise its own rows. Of 21 and 2 rows, shares differ.
    status, said = finished(several(3, "tests.nets.steps_in_group", tmp_path / "states"))
    assert status == 0, said
    states = torch.load(tmp_path / "states")
    for objective in ("smoothadv", "pag"):
        for name, value in take_steps(small_training(objective)).items():
            torch.testing.assert_close(states[objective][name], value, atol=1e-5, rtol=1e-4, msg=name)
    for name, value in take_steps(small_training("gaussian")).items():
        for how in ("gaussian", "parts"):
            torch.testing.assert_close(states[how][name], value, atol=1e-5, rtol=1e-4, msg=name)


@pytest.fixture(scope="module")
def shared(dataset, tmp_path_factory):
    """A whole training in two processes: its config, and what it said."""
    asked = config(
        dataset, tmp_path_factory.mktemp("shared"), batch=64, optimiser={"name": "sgd", "learning_rate": 0.2}, epochs=8
    )
    status, said = finished(several(2, "steps.train", *flags(asked)))
    assert status == 0, said
    return asked, said


def test_a_training_in_two_processes_has_the_curve_of_one(shared, tmp_path):
    asked, said = shared
    alone = changed(asked, out=tmp_path / "m" / "model.safetensors")
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


def wait_for_a_checkpoint(asked: train.Config, process: subprocess.Popen) -> None:
    """Wait until a training that goes on has saved its first checkpoint."""
    until = time.monotonic() + 60
    while not list(asked.out.parent.glob("checkpoints/[0-9a-f]*.checkpoint")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.01)


def test_told_to_stop_all_save_at_the_same_step_and_go_on_to_the_same_network(shared, tmp_path):
    whole, _ = shared
    asked = changed(whole, out=tmp_path / "m" / "model.safetensors", checkpoint_seconds=0.05)
    process = several(2, "steps.train", *flags(asked))
    wait_for_a_checkpoint(asked, process)
    process.terminate()
    status, said = finished(process)
    assert status and said.count("told to stop: checkpoint saved at step") == 1, said
    status, said = finished(several(2, "steps.train", *flags(asked)))
    assert status == 0 and "goes on from step" in said
    assert asked.out.read_bytes() == whole.out.read_bytes()


def test_when_the_first_is_killed_all_end_and_the_same_command_goes_on_in_any_number(shared, tmp_path):
    whole, _ = shared
    asked = changed(whole, out=tmp_path / "m" / "model.safetensors", checkpoint_seconds=0.05)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    # As workflow/on_nodes.sh does: nothing stands over them that would end the others.
    place = one_thread() | {"PAGODA_GROUP": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-m", "steps.train", *flags(asked)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True, env=place | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in (0, 1)
    )  # fmt: skip
    wait_for_a_checkpoint(asked, first)
    first.kill()
    first.communicate()
    status, said = finished(second)
    assert status and said.count("error: a process of this training has ended") == 1 and "defect" not in said, said
    assert not asked.out.exists()
    again = run_step("train", *flags(asked), env=one_thread())
    assert again.returncode == 0 and "goes on from step" in again.stderr


def test_what_all_processes_find_wrong_is_said_once(dataset, tmp_path):
    log = tmp_path / "logs" / "train.log"
    words = [
        *flags(config(dataset, tmp_path, epochs=1, optimiser={"name": "sgd", "learning_rate": 1e12})),
        f"--log={log}",
    ]
    status, printed = finished(several(2, "steps.train", *words))
    said = r"error: the loss is (nan|inf) in epoch 1: learning_rate 1e\+12 is too high"
    assert status and len(re.findall(said, printed)) == 1, printed
    assert len(re.findall(said, log.read_text())) == len(re.findall("error", log.read_text())) == 1
