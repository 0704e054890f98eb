"""Fixtures: a small dataset, a model with random weights, a folder of pictures, and a copy of the project."""

import ctypes
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pagoda.data.dataset import read_description
from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import Identity, save_model
from pagoda.options import Options
from steps import fetch, fit_bayes, train

ROOT = Path(__file__).parents[1]
ODD = '-a "cat\'s" <script>{x}\\ $x^ 100% & 猫'
"""A class name with whatever a folder's name may have."""

torch.set_num_threads(1)
os.environ.pop("SNAKEMAKE_PROFILE", None)  # that of an activated .venv: tests' copies of the project have no profiles


LONGEST = ("tests/workflow/test_digits.py", "workflow/executor/tests/", "tests/workflow/", "tests/slurm/")
"""What takes long begins first, so that all workers end together; the executor's tests wait more than they work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return next((k for k, name in enumerate(LONGEST) if item.nodeid.startswith(name)), len(LONGEST))

    items.sort(key=place)


class FirstFailure:
    """Shows the first failure when it happens, with its log; pytest shows all of them at the end, minutes later."""

    def __init__(self, config: pytest.Config):
        self.config, self.shown = config, False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.shown:
            self.shown = True
            writer = self.config.get_terminal_writer()
            writer.line()
            writer.line(f"{report.nodeid} failed; the others go on\n{report.longreprtext}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the process that starts the others
        config.pluginmanager.register(FirstFailure(config))


@pytest.fixture(autouse=True)
def quiet():
    """Steps open their log in `main`, and keep it from pytest's `caplog`; called as functions they find no handler."""
    logger = logging.getLogger("pagoda")
    logger.addHandler(logging.NullHandler())
    logger.propagate = True


@pytest.fixture(scope="session")
def dataset(tmp_path_factory) -> Path:
    """Path of the dataset.json of the digits at 8 x 8."""
    out = tmp_path_factory.mktemp("fetch") / "dataset.json"
    fetch.run(fetch.Config(kind="digits", size=8, out=out))
    return out


def write_model(path: Path, dataset: Path, **changes) -> Path:
    """Write a small model with random weights that fits `dataset`, its identity altered by `changes`."""
    fields = {
        "architecture": {"name": "airbench", "widths": [8, 16]},
        "objective": {"name": "gaussian", "sigma": 0.5},
        "seed": 0,
        "precision": "float32",
        "code": "none",
    } | changes
    identity = Identity.of(read_description(dataset), **fields)
    network = build_seeded(0, identity.architecture, len(identity.classes), identity.channels)
    save_model(path, network, identity)
    return path


@pytest.fixture(scope="session")
def judge(dataset, tmp_path_factory) -> Path:
    """Path of a judge for 200 and 100 test images of `dataset`."""
    asked = train.Config(
        data=dataset, out=tmp_path_factory.mktemp("judge") / "model.safetensors", judge_fit=200, judge_held_out=100,
        architecture={"name": "airbench", "widths": [16, 32]}, model={"objective": "gaussian", "sigma": 0.1},
        optimiser={"name": "muon"}, epochs=20, batch=50,
    )  # fmt: skip
    train.run(asked)
    return asked.out


@pytest.fixture(scope="session")
def reference(dataset, tmp_path_factory) -> Path:
    """Path of the Bayes classifier fitted on the same 200 test images."""
    asked = fit_bayes.Config(
        data=dataset, out=tmp_path_factory.mktemp("reference") / "model.safetensors", judge_fit=200, judge_held_out=100,
        model={"objective": "bayes", "sigma": 0.3},
    )  # fmt: skip
    fit_bayes.run(asked)
    return asked.out


@pytest.fixture
def model(tmp_path, dataset) -> Path:
    """Path of a model with random weights that fits `dataset`."""
    return write_model(tmp_path / "gaussian-0.5" / "model.safetensors", dataset)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Root of an image folder: 2 classes, 6 training and 8 test pictures each, 20 x 16 pixels, one class name odd."""
    source = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 8)):
        for label, name in enumerate((ODD, "dog")):
            place = tmp_path / "pictures" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                pixels = source.integers(100 * label, 100 * label + 120, (16, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")
    return tmp_path / "pictures"


def run_step(step: str, *flags: object, cwd: Path = ROOT, **kwargs) -> subprocess.CompletedProcess:
    """Run a step as users and Snakemake do; return what it printed and its exit status."""
    command = [sys.executable, "-m", f"steps.{step}", *map(str, flags)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, **kwargs)


def changed(options: Options, **changes) -> Options:
    """Return a step's options with some of them changed."""
    return type(options).model_validate(options.model_dump(by_alias=True) | changes)


def flags(options: Options) -> list[str]:
    """Return the flags of a step's command line that say the same as its options."""
    words = []
    for name, value in options.model_dump(mode="json", by_alias=True, exclude_none=True).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, list):
            words += [flag, *map(str, value)] if value else []
        else:
            words.append(f"{flag}={json.dumps(value) if isinstance(value, dict) else value}")
    return words


def without_override() -> None:
    """Take from this process, root's or not, the right to write where permissions do not let it. For `preexec_fn`."""
    drop, dac_override = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(drop, dac_override, 0, 0, 0)


def copy_project(to: Path) -> Path:
    """Copy what a run needs (workflow, pagoda, steps, environments) to `to`."""
    for name in ("workflow", "pagoda", "steps", "envs"):
        shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__"))
    return to
