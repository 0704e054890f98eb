import dataclasses
import gc
import os
import re
import weakref

import numpy as np
import pandas as pd
import pytest
import torch

from pagoda.errors import BadInput
from pagoda.memory import MicroBatch, in_parts, is_out_of_memory, machine_memory
from steps import align, ascend, certify, predict
from tests.conftest import changed
from tests.test_align import ascents

WORDS = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes. Error code 12"
LARGEST = 10


def test_memory_is_the_machines_or_that_of_its_control_group(tmp_path):
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < machine_memory() <= physical and machine_memory(tmp_path) == physical
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("1:memory:/other\n0::/slurm/job:1\n")
    group = tmp_path / "sys" / "fs" / "cgroup" / "slurm" / "job:1"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    assert machine_memory(tmp_path) == physical
    (group.parent / "memory.max").write_text("1000\n")
    assert machine_memory(tmp_path) == 1000


def test_what_a_real_allocation_that_is_too_large_raises_is_known():
    with pytest.raises((RuntimeError, MemoryError)) as found:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(found.value)
    with pytest.raises(MemoryError) as found:
        np.empty(2**55, np.uint8)
    assert is_out_of_memory(found.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(BadInput("out of memory"))


def test_it_halves_says_so_and_lets_go_of_what_the_error_held(caplog):
    held, sizes = [], []

    def work(size):
        gc.collect(0)
        assert not [one for one in held if one() is not None]
        sizes.append(size)
        tensor = torch.zeros(size)
        held.append(weakref.ref(tensor))
        if size > LARGEST:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB.\nMore lines.")
        return tensor.sum()

    micro = MicroBatch("certify gaussian-1", 50)
    with caplog.at_level("WARNING", logger="pagoda"):
        assert micro.run(work) == 0
    assert sizes == [50, 25, 12, 6] and micro.size == 6
    assert caplog.messages[0] == (
        "certify gaussian-1: out of memory with 50 pictures at once: goes on with 25 (speed and memory only)"
    )
    assert len(caplog.messages) == 3


def test_one_picture_that_is_too_large_is_bad_input_in_a_line_and_other_errors_are_left():
    def work(size):
        raise RuntimeError(WORDS + "\nMore.")

    with pytest.raises(BadInput, match=rf"^certify x: memory does not suffice for one picture at once \({WORDS}\)$"):
        MicroBatch("certify x", 3).run(work)
    with pytest.raises(ValueError, match="another"):
        MicroBatch("certify x", 3).run(lambda size: int("another"))


def test_parts_of_any_size_have_the_logits_of_the_whole():
    sizes, weight = [], torch.randn(12, 5, generator=torch.Generator().manual_seed(0))

    def base(x):
        sizes.append(len(x))
        return x.flatten(1) @ weight

    x = torch.rand(7, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    for size in (1, 3, 100):
        assert torch.equal(in_parts(base, MicroBatch("x", size))(x), x.flatten(1) @ weight)
    assert min(sizes) == 2  # one row would be rounded in another way


@pytest.fixture
def small_device(monkeypatch):
    """Return a function that gives a step a device on which so many pictures at once are too many."""

    def give(step, largest):
        load = step.load_model

        def load_small(*args):
            loaded = load(*args)
            network = loaded.classifier

            class Small(torch.nn.Module):
                mean, network = loaded.classifier.mean, loaded.classifier.network

                def forward(self, x):
                    if len(x) > largest:
                        raise torch.OutOfMemoryError("CUDA out of memory.")
                    return network(x)

            return dataclasses.replace(loaded, classifier=Small())

        monkeypatch.setattr(step, "load_model", load_small)

    return give


@pytest.mark.parametrize("step", [certify, predict])
@pytest.mark.parametrize("largest", [100, 2])
def test_tables_are_the_same_when_memory_runs_out(step, largest, model, dataset, tmp_path, small_device, caplog):
    values = {"n0": 20, "n": 300, "mode": "grid"} if step is certify else {"n": 200}
    asked = step.Config(
        model=model, data=dataset, out=tmp_path / "whole.tsv", sigma=0.5, images=6, alpha=0.01, batch=250, **values
    )
    step.run(asked)
    small_device(step, largest)
    other = changed(asked, out=tmp_path / "halved.tsv")
    with caplog.at_level("WARNING", logger="pagoda"):
        step.run(other)
    assert "out of memory with 250 pictures at once: goes on with 125 (speed" in caplog.text
    whole, halved = (
        pd.read_csv(path, sep="\t").drop(columns="time", errors="ignore") for path in (asked.out, other.out)
    )
    assert halved.equals(whole)


def test_ascents_and_their_measures_are_those_of_a_smaller_batch(
    model, judge, reference, dataset, tmp_path, small_device, caplog
):
    asked = ascend.Config(
        model=model, data=dataset, out=tmp_path / "a.npz", target="3", sigma=0.5, epsilon=1.5, images=5, steps=4,
        step=0.25, draws=16, check_draws=64, batch=80,
    )  # fmt: skip
    measured = align.Config(
        model=model, judge=judge, reference=reference, data=dataset, ascents=ascents(model, dataset, tmp_path),
        out=tmp_path / "align.csv", sigma=0.5, draws=32, judge_fit=200, judge_held_out=100, batch=80,
    )  # fmt: skip
    ascend.run(changed(asked, batch=20))
    align.run(changed(measured, batch=20))
    files = asked.out, measured.out, measured.out.with_suffix(".npz")
    expected = [file.read_bytes() for file in files]
    for step in (ascend, align):
        small_device(step, 30)
    with caplog.at_level("WARNING", logger="pagoda"):
        ascend.run(asked)
        align.run(measured)
    assert [file.read_bytes() for file in files] == expected
    halved = re.findall(r"py:\d+ (\w+).* goes on with (\d+) ", caplog.text)
    assert [halved[k] for k in (1, 5, 7)] == [("ascend", "20"), ("judge", "16"), ("align", "20")]
