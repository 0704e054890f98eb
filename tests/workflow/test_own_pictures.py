"""Anyone's pictures: what is told when planning, before anything runs; a check; a new experiment's file."""

import copy
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from forked import snakemake
from PIL import Image

from pagoda.data.classes import class_names, count_tests
from pagoda.options.check import check_config
from pagoda.options.sizes import sizes
from tests.conftest import ROOT, copy_project
from tests.workflow.test_digits import TINY, planned, write_config


def write_pictures(root: Path, counts: dict[str, int], classes: str = "ab", side: int = 16) -> Path:
    source = np.random.default_rng(0)
    for split, count in counts.items():
        for name in classes:
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                pixels = source.integers(0, 256, (side, side + 8, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def project(tmp_path):
    return copy_project(tmp_path / "project")


def experiment(root: Path, **sections) -> dict:
    found = copy.deepcopy(TINY) | {"dataset": {"kind": "imagefolder", "root": str(root), "size": 16}}
    found["ascend"] = {key: value for key, value in found["ascend"].items() if key not in ("classes", "images")}
    found["align"] = {"draws": 2}
    return found | sections


def test_a_class_added_after_fetch_is_fetched_and_a_folder_that_is_gone_named(project, tmp_path):
    root = write_pictures(tmp_path / "pictures", {"train": 2, "test": 40})
    write_config(project, experiment(root))
    data = "results/tiny/fetch/dataset.json"
    assert snakemake(project, "--cores", "1", data, PAGODA_WARM="0").returncode == 0
    assert planned(project, data) == {}
    write_pictures(root, {"train": 2, "test": 40}, classes="c")
    assert planned(project, data) == {"fetch": 1}
    (root / "train").rename(root / "elsewhere")
    assert "error: experiment tiny: no folder" in snakemake(project, "-n").stdout


def test_judges_take_what_test_pictures_there_are_and_class_names_may_be_decomposed(project, tmp_path):
    root = write_pictures(tmp_path / "pictures", {"train": 2, "test": 20}, classes=["cafe\u0301", "tea"])
    given = experiment(root)
    given["ascend"]["classes"] = ["cafe\u0301"]
    given["montage"] = {"headline_epsilon": 2, "classes": ["caf\u00e9"]}
    write_config(project, given)
    done = snakemake(project, "-n", "-p", "results/tiny/align/standard/sigma=0.csv")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "--target=caf\u00e9" in said, said
    images, fit, held_out = (
        int(re.search(rf"--{what}=(\d+)", said)[1]) for what in ("images", "judge-fit", "judge-held-out")
    )
    assert 1 <= images <= 16 and fit >= 10 and held_out >= 1 and 2 * images + fit + held_out <= 40
    write_config(project, given | {"align": {"draws": 2, "judge_fit": 400, "judge_held_out": 100}})
    done = snakemake(project, "-n", "results/tiny/align/standard/sigma=0.csv")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "experiment tiny: align.judge_fit 400 and judge_held_out 100 take 500 test" in said


def test_a_check_says_in_seconds_what_is_there_and_what_will_be_done(project, tmp_path):
    root = write_pictures(tmp_path / "pictures", {"train": 3, "test": 20})
    (root / "train" / "a" / "copy.png").write_bytes((root / "test" / "a" / "0.png").read_bytes())
    (root / "train" / ".DS_Store").write_bytes(b"x")
    write_config(project, experiment(root))
    done = snakemake(project, "--cores", "1", "check_tiny", PAGODA_WARM="0")
    assert done.returncode == 0, done.stdout + done.stderr
    said = (project / "results/tiny/logs/check.log").read_text()
    assert said in done.stdout
    for line in (
        "tiny: imagefolder .*pictures, 2 classes",
        r"  a +4 +20$",
        r"  all +7 +40$",
        "left out 1, hidden files and folders: .*DS_Store",
        "47 lose more than 25%",
        "warning: 1 pictures stand in train and in test: train/a/copy.png = test/a/0.png",
        r"\d+ sources of each ascent; the last \d+ fit the judges, \d+ before those try them",
        r"train gaussian-0\.25: 1 epochs, [\d,]+ parameters",
        r"^\d+ jobs: .*\btrain 4\b",  # two, the judge and the reference
        r"^\d+ jobs: .*\bfetch 1\b",
        r"^about .* here \(guessed from a batch, certificates by all their draws\), \d+ jobs at once",
    ):
        assert re.search(line, said, re.M), (line, said)
    assert not (project / "results/tiny/fetch").exists()
    (root / "train" / "a" / "1.png").write_bytes(b"no picture")
    done = snakemake(project, "--cores", "1", "check_tiny", PAGODA_WARM="0")
    assert done.returncode != 0 and re.search(
        r"error: cannot read the picture .*train/a/1\.png: no picture", done.stdout
    )
    assert '"kind": "imagefolder"' not in done.stdout + done.stderr  # the line is not lost in the config


@pytest.fixture
def new(tmp_path, monkeypatch, capsys):
    """What workflow/new.py prints in `tmp_path`, or the error that it ends with."""

    def run(*words: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["new.py", *words])
        try:
            runpy.run_path(str(ROOT / "workflow" / "new.py"), run_name="__main__")
        except SystemExit as ended:
            return str(ended.code)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("what", "wanted"),
    [
        ("folder", {"kind": "imagefolder", "size": 40}),
        ("no test", {"kind": "imagefolder", "size": 40, "split": 0.1}),
        ("table", {"kind": "imagefolder", "size": 16, "split": 0.1, "labels": "labels.csv", "channels": 1}),
        ("arrays", {"kind": "arrays", "size": 24, "channels": 1, "split": 0.1, "range": [0, 1]}),
    ],
)
def test_a_new_experiment_is_one_that_planning_takes(new, tmp_path, what, wanted):
    root = tmp_path / "mine"
    if what == "arrays":
        root = tmp_path / "mine.npz"
        images = np.linspace(0, 1, 400 * 28 * 28).reshape(400, 28, 28)
        np.savez(root, images=images, labels=np.arange(400) % 2)
    elif what == "table":
        root.mkdir()
        for number in range(300):
            Image.fromarray(np.full((20, 20), number % 256, np.uint8)).save(root / f"{number}.png")
        (root / "labels.csv").write_text("id,kind\n" + "".join(f"{k},{'ab'[k % 2]}\n" for k in range(300)))
    else:
        write_pictures(root, {"train": 150, "test": 40} if what == "folder" else {"": 200}, side=40)
    assert "next: snakemake check_mine --configfile mine.yaml" in new("mine", str(root))
    written = yaml.safe_load((tmp_path / "mine.yaml").read_text())["experiments"]["mine"]
    assert written["dataset"] == {"root": str(root)} | wanted
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    mine = check_config({"defaults": config["defaults"], "experiments": {"mine": written}})["mine"]
    known = mine.dataset.below_root
    assert len(class_names(*known)) == 2
    assert sizes(mine.ascend, mine.align, 2, count_tests(*known, 10**6)).judge_fit >= 10
    assert new("mine", str(root)) == "error: mine.yaml is there already: take another NAME, or remove it"


@pytest.mark.parametrize(
    ("name", "root", "said"),
    [
        ("4pets", ".", "NAME is '4pets': must be letters"),
        ("pets", "nowhere", "no folder nowhere"),
        ("pets", "", "make new NAME=pets ROOT=data/pets"),
    ],
)
def test_what_a_new_experiment_cannot_be_of_is_said(new, name, root, said):
    assert said in new(name, root)
