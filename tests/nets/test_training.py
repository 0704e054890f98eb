import logging

import pytest
import torch

from pagoda.errors import BadInput
from pagoda.nets.model import Identity
from pagoda.nets.training import Training

CPU = torch.device("cpu")
SMOOTHADV = {"name": "smoothadv", "sigma": 0.5, "epsilon": 0.5, "attack_steps": 2, "attack_step": 0.3, "draws": 2}
OBJECTIVES = {"gaussian": {"name": "gaussian", "sigma": 0.5}, "smoothadv": SMOOTHADV | {"warmup": 0}}


def small_training(objective: str, batch: int = 21, **changes) -> Training:
    """A training of a small network on pictures of 3 x 8 x 8, its batch norms in eval mode."""
    identity = Identity(
        architecture="fast_resnet",
        options={"width": 4},
        classes=("a", "b", "c"),
        channels=3,
        size=8,
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
        objective=OBJECTIVES[objective],
        seed=0,
        precision="float32",
        data="none",
        code="none",
    )
    schedule = {"steps_an_epoch": 4, "epochs": 2, "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
    training = Training(identity, device=CPU, batch=batch, **schedule, **changes)
    training.classifier.eval()
    return training


def take_steps(training: Training, steps: int = 3, batch: int = 21) -> dict:
    """Take some steps on this process's rows of batches that anyone can make; return what has come of it."""
    for number in range(steps):
        source = torch.Generator().manual_seed(number)
        count = batch if number else 2  # a batch that leaves some of several processes without a row
        x = torch.rand(count, 3, 8, 8, generator=source)
        y = torch.randint(0, 3, (count,), generator=source)
        rows = training.share.rows(count)
        training.step(x[rows], y[rows], count=count)
    return {"totals": training.totals, **training.classifier.network.state_dict()}


def run_out_of_memory(training: Training, most: int) -> None:
    """Have the network fail for more rows than `most`, when it has been through them and its statistics are altered."""

    def fail(network, arguments, result):
        if len(result) > most and torch.is_grad_enabled():
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore of it.")

    training.classifier.network.register_forward_hook(fail)


@pytest.mark.parametrize("objective", ["gaussian", "smoothadv"])
def test_out_of_memory_halves_what_goes_at_once_and_changes_no_result(objective, caplog, monkeypatch):
    whole, halved = small_training(objective), small_training(objective)
    expected = take_steps(whole)
    run_out_of_memory(halved, most=12)
    monkeypatch.setattr(logging.getLogger("pagoda"), "propagate", True)
    found = take_steps(halved)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4, msg=name)
    said = [record.getMessage() for record in caplog.records]
    # 21 pictures, in smoothadv twice as many: 10, then 5 at once.
    assert len(said) == (1 if objective == "gaussian" else 2)
    assert "out of memory with 21 pictures at once: goes on with 10 (batch norm normalises each such part" in said[0]


def test_a_step_that_ran_out_of_memory_leaves_no_trace_in_running_statistics():
    small, failing = small_training("smoothadv"), small_training("smoothadv")
    small.micro.size = 5
    run_out_of_memory(failing, most=12)
    small.classifier.train()
    failing.classifier.train()
    expected, found = take_steps(small), take_steps(failing)
    assert failing.classifier.training and failing.micro.size == 5
    expected, found = (
        {name: value for name, value in state.items() if "num_batches" not in name} for state in (expected, found)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_no_memory_for_one_picture_is_one_line():
    training = small_training("gaussian")
    run_out_of_memory(training, most=0)
    with pytest.raises(BadInput, match=r"^train: memory does not suffice for one picture at once \([^\n]*\)$"):
        take_steps(training)
