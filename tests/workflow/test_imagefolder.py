"""The workflow on pictures that are files, at ImageNet's size with ResNet-50: decoded by workers, memory bounded."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from forked import snakemake
from PIL import Image
from torchvision import transforms

from pagoda.data.ascents import read_ascent
from pagoda.data.dataset import Split
from steps import certify
from tests.conftest import copy_project
from tests.workflow.test_digits import write_config

CLASSES = ("n01440764", "n02123045", "n03445777")
VIEW = "gaussian-0.5/sigma=0.5"
LARGE = {
    "threads": 1,
    "dataset": {
        "kind": "imagefolder",
        "root": "pictures",
        "size": 224,
        "resize": 256,
        "storage": "files",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
    "architecture": {"name": "resnet50"},
    "train": {
        "epochs": 1,
        "batch": 4,
        "optimiser": {"name": "sgd", "learning_rate": 0.01},
        "flip": True,
        "crop": True,
        "precision": "float32",
        "workers": 2,
    },
    "models": [{"objective": "gaussian", "sigma": 0.5}],
    "certify": {"images": 2, "n0": 4, "n": 8, "alpha": 0.1, "mode": "fixed", "batch": 8},
    "ascend": {
        "views": [{"model": "gaussian-0.5", "sigma": 0.5}],
        "epsilon": [20],
        "classes": [CLASSES[1]],
        "images": 2,
        "steps": 1,
        "step": 0.5,
        "draws": 8,  # 16 noisy images at once would take another 700 MB
        "check_draws": 2,
        "frames": 2,
        "batch": 2,
    },
    "align": {
        "draws": 2,
        "judge_fit": 10,
        "judge_held_out": 2,
        "batch": 2,
        "judge": {"objective": "standard", "architecture": {"name": "airbench", "widths": [4, 4]}},
    },
    "montage": {"headline_epsilon": 20},
}  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The experiment's results, from JPEG files of odd sizes."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 6)):
        for label, name in enumerate(CLASSES):
            folder = project / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = random.integers(230, 420, 2)
                pixels = random.integers(80 * label, 80 * label + 90, (height // 8, width // 8, 3), np.uint8)
                Image.fromarray(pixels).resize((width, height)).save(folder / f"{number}.JPEG")
    write_config(project, LARGE)
    targets = [f"results/tiny/{path}" for path in (f"certify/{VIEW}.tsv", f"align/{VIEW}.csv")]
    done = snakemake(project, "--cores", "2", *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "results" / "tiny"


def test_training_sees_every_file_and_says_how_well(results):
    summary = json.loads((results / "train/gaussian-0.5/summary.json").read_text())
    assert summary["n"] == 18 and summary["architecture"] == {"name": "resnet50"}
    assert 0 <= summary["clean_accuracy"] <= 1
    assert len(pd.read_csv(results / "train/gaussian-0.5/history.csv")) == 1


def test_certificates_are_the_same_whatever_the_batch(results, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    table = pd.read_csv(results / f"certify/{VIEW}.tsv", sep="\t")
    assert table.idx.tolist() == [0, 9] and (table.draws == 8).all()
    asked = certify.Config(
        model=results / "train/gaussian-0.5/model.safetensors", data=results / "fetch/dataset.json",
        out=results / "other.tsv", sigma=0.5, images=2, n0=4, n=8, alpha=0.1, mode="fixed", batch=2,
    )  # fmt: skip
    small = pd.read_csv(certify.run(asked), sep="\t")
    assert small.drop(columns="time").equals(table.drop(columns="time"))


def test_ascents_start_from_pictures_cut_as_published_and_are_measured(results, monkeypatch):
    monkeypatch.chdir(results.parents[1])
    found = read_ascent(results / f"ascend/{VIEW}/eps=20/class={CLASSES[1]}.npz")
    test = Split(results / "fetch/dataset.json", "test")
    published = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    for index, source in zip(found.index.tolist(), found.source, strict=True):
        assert torch.equal(published(Image.open(test.path(index)).convert("RGB")), torch.from_numpy(source))
    assert np.allclose(found.norm, 10, atol=1)  # half of epsilon, where the box does not cut it
    table = pd.read_csv(results / f"align/{VIEW}.csv")
    assert table["index"].tolist() == found.index.tolist() and table.contrastive.notna().all()


@pytest.mark.parametrize(("step", "megabytes"), [("certify", 1500), ("ascend", 1400), ("align", 1500)])
def test_memory_is_bounded_by_the_batch(results, step, megabytes):
    (log,) = (results / "logs" / step).rglob("*.log")
    assert 100 < int(re.search(r"took .* CPU-seconds, (\d+) MB", log.read_text())[1]) < megabytes
