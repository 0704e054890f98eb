import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

from pagoda.errors import BadInput
from pagoda.nets.model import load_model
from pagoda.run.fingerprint import _read
from pagoda.run.lock import sole_writer
from steps import train
from tests.conftest import ROOT, changed, flags, run_step

SMALL = {
    "architecture": {"name": "airbench", "widths": [8, 16]},
    "model": {"objective": "gaussian", "sigma": 0.25},
    "epochs": 6,
    "batch": 32,
    "shift": 1,
    "optimiser": {"name": "muon"},
    "precision": "float32",
}


def config(dataset, out, **changes):
    return train.Config(data=dataset, out=out / "gaussian-0.25" / "model.safetensors", **SMALL | changes)


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """A whole training, uninterrupted: its config and its summary."""
    asked = config(dataset, tmp_path_factory.mktemp("whole"))
    return asked, train.run(asked)


def test_training_learns_and_says_how_well(trained):
    asked, summary = trained
    assert summary["noisy_accuracy"] > 0.6 and summary["n"] == 359
    low, high = summary["noisy_accuracy_95"]
    assert low < summary["noisy_accuracy"] < high
    history = pd.read_csv(asked.out.with_name("history.csv"))
    assert history.epoch.tolist() == [1, 2, 3, 4, 5, 6]
    assert history.loss.iloc[-1] < 0.6 * history.loss.iloc[0]
    assert json.loads(asked.out.with_name("summary.json").read_text())["parameters"] == summary["parameters"]
    loaded = load_model(asked.out, torch.device("cpu"))
    assert loaded.identity.objective == {"name": "gaussian", "sigma": 0.25}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_interrupted_at_any_moment_it_ends_with_the_same_network(trained, tmp_path, how):
    whole, _ = trained
    asked = changed(whole, out=tmp_path / "m" / "model.safetensors", checkpoint_seconds=0.05)
    command = [sys.executable, "-m", "steps.train", *flags(asked)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=_one_thread())
    until = time.monotonic() + 60
    while not list(tmp_path.glob("m/checkpoints/[0-9a-f]*.checkpoint")) and time.monotonic() < until:
        time.sleep(0.001)
    process.send_signal(how)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (143 if how == signal.SIGTERM else -9)
    assert how == signal.SIGKILL or "checkpoint saved at step" in said
    assert not asked.out.exists()
    again = run_step("train", *flags(asked), env=_one_thread())
    assert again.returncode == 0 and "goes on from step" in again.stderr
    assert asked.out.read_bytes() == whole.out.read_bytes()


def test_files_lost_after_the_training_are_made_again_at_once(trained, tmp_path):
    whole, summary = trained
    content = whole.out.read_bytes()
    whole.out.unlink()
    again = train.run(whole)
    assert whole.out.read_bytes() == content and again == summary
    assert len(list(whole.out.parent.glob("checkpoints/*"))) == 1


def test_a_network_of_ones_own_is_trained_and_loaded_and_its_code_counts(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_nets.py").write_text(NETWORK)
    architecture = {"factory": "my_nets:linear", "scale": 2}
    asked = config(dataset, tmp_path, architecture=architecture, optimiser={"name": "sgd"}, epochs=4)
    assert train.run(asked)["noisy_accuracy"] > 0.5
    first = load_model(asked.out, torch.device("cpu"))
    assert first.identity.architecture == architecture and type(first.classifier.network).__name__ == "Linear"
    (tmp_path / "my_nets.py").write_text(NETWORK.replace("# note", "").replace("2:]", "-2:]"))
    _read.cache_clear()
    train.run(asked)  # from the beginning: the checkpoint is another code's
    assert load_model(asked.out, torch.device("cpu")).identity.code != first.identity.code


NETWORK = """
import torch  # note


def linear(classes, channels, scale):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.LazyLinear(classes)
            self.layer(torch.zeros(1, channels * 64))

        def forward(self, x):
            assert x.shape[2:] == (8, 8)
            return scale * self.layer(x.flatten(1))

    return Linear()
"""


def test_two_processes_do_not_make_one_model(trained):
    whole, _ = trained
    with sole_writer(whole.out), pytest.raises(BadInput, match=r"another process is making .*model\.safetensors"):
        train.run(whole)


@pytest.mark.parametrize(("clean", "warned"), [((0.1, 0.3), True), ((0.1, 0.9), False)])
def test_a_network_that_reads_the_label_from_the_attack_is_warned_of(
    dataset, tmp_path, monkeypatch, caplog, clean, warned
):
    found = {"clean_accuracy": 0.2, "clean_accuracy_95": clean}
    found |= {"adversarial_accuracy": 0.8, "adversarial_accuracy_95": (0.7, 0.9)}
    monkeypatch.setattr(train, "accuracies", lambda *_, **__: found)
    attack = {"objective": "adversarial", "epsilon": 0.5, "attack_steps": 1, "attack_step": 0.5}
    train.run(config(dataset, tmp_path, model=attack, epochs=1))
    assert ("more accurate under its attack (0.800) than without (0.200)" in caplog.text) == warned


@pytest.mark.parametrize("objective", ["standard", "adversarial"])
def test_other_objectives_train(dataset, tmp_path, objective):
    attack = {"epsilon": 0.5, "attack_steps": 2, "attack_step": 0.3} if objective == "adversarial" else {}
    summary = train.run(config(dataset, tmp_path, model={"objective": objective} | attack, epochs=4))
    assert summary["clean_accuracy"] > 0.6
    assert ("adversarial_accuracy" in summary) == (objective == "adversarial")


def test_bfloat16_trains_too(dataset, tmp_path):
    summary = train.run(config(dataset, tmp_path, epochs=4, precision="bfloat16"))
    assert summary["clean_accuracy"] > 0.6
    assert (
        load_model(tmp_path / "gaussian-0.25" / "model.safetensors", torch.device("cpu")).identity.precision
        == "bfloat16"
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"architecture": {"name": "airbench", "widths": [4] * 4}},
            "architecture: 4 groups, .*17 pixels a side, not 8",
        ),
        ({"judge_fit": 300, "judge_held_out": 60}, "judge_fit is 300 and judge_held_out 60: of 359 test images 59 are"),
        ({"architecture": {"factory": "nowhere:net"}}, "factory 'nowhere:net': no module nowhere in"),
        (
            {"optimiser": {"name": "sgd", "learning_rate": 1e12}},
            "the loss is (nan|inf) in epoch .*learning_rate 1e\\+12 is too high",
        ),
        (
            {"optimiser": {"name": "muon", "others": 1e30}},
            "the loss is (nan|inf) in epoch 1: learning_rate 0.12 or others 1e\\+30 is too high",
        ),
    ],
)
def test_what_makes_no_training_is_refused(dataset, tmp_path, changes, said):
    with pytest.raises(BadInput, match=said):
        train.run(config(dataset, tmp_path, **{"epochs": 1} | changes))


def test_pictures_that_are_files_train_with_worker_processes(tmp_path, folder):
    from steps import fetch

    data = tmp_path / "fetch" / "dataset.json"
    statistics = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    fetch.run(fetch.Config(kind="imagefolder", root=str(folder), size=16, storage="files", out=data, **statistics))
    asked = config(data, tmp_path, flip=True, crop=True, workers=2, epochs=2, batch=4, shift=0)
    assert train.run(asked)["n"] == 16
    (folder / "train" / "dog" / "3.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"^cannot read the picture .*dog/3\.png: [^\n]*$"):
        train.run(changed(asked, seed=1))


def test_told_to_stop_with_all_its_workers_it_saves_the_step_that_it_is_at(tmp_path, folder):
    from steps import fetch

    data = tmp_path / "fetch" / "dataset.json"
    statistics = {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    fetch.run(fetch.Config(kind="imagefolder", root=str(folder), size=16, storage="files", out=data, **statistics))
    # More steps than are done before the signal; no checkpoint but that which the signal asks for.
    asked = config(data, tmp_path, crop=True, workers=2, epochs=20_000, batch=4, shift=0)
    process = subprocess.Popen(
        [sys.executable, "-m", "steps.train", *flags(asked)],
        cwd=ROOT, stderr=subprocess.PIPE, text=True, env=_one_thread(), start_new_session=True,
    )  # fmt: skip
    for line in process.stderr:
        if "pictures" in line:
            break
    time.sleep(2)
    for worker in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(worker), signal.SIGTERM)  # the workers first: without them, it could not go on
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    step = re.search(r"checkpoint saved at step (\d+)", said)
    assert process.returncode == 143 and step and int(step[1]) > 0
    assert len(list(asked.out.parent.glob("checkpoints/*.checkpoint"))) == 1
    with pytest.raises(ProcessLookupError):  # no worker is left
        os.killpg(process.pid, 0)


def _one_thread():
    return os.environ | {"OMP_NUM_THREADS": "1"}
