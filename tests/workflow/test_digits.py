"""The workflow on a tiny experiment, from fetch to montage; then what is rerun after which change."""

import copy
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import torch
import yaml
from forked import snakemake

from pagoda.nets.architectures import build_seeded
from pagoda.nets.model import load_model
from tests.conftest import ROOT, copy_project

TINY = {
    "dataset": {"kind": "digits", "size": 8},
    "architecture": {"name": "airbench", "widths": [8, 16]},
    "train": {"epochs": 1, "batch": 64},
    "models": [{"objective": "standard"}, {"objective": "gaussian", "sigma": 0.25}],
    "certify": {"images": 4, "n0": 5, "n": 50, "alpha": 0.1},
    "ascend": {
        "views": [{"model": "standard", "sigma": 0}, {"model": "gaussian-0.25", "sigma": 0.25}],
        "epsilon": [2],
        "classes": ["3", "7"],
        "images": 2,
        "steps": 2,
        "step": 0.5,
        "draws": 2,
        "check_draws": 4,
    },
    "align": {"draws": 2, "judge_fit": 100, "judge_held_out": 50},
    "montage": {"headline_epsilon": 2},
}


def write_config(project: Path, experiment: dict = TINY) -> None:
    (project / "config.yaml").write_text(yaml.safe_dump({"run": ["tiny"], "experiments": {"tiny": experiment}}))


def planned(project: Path, *targets: str) -> Counter:
    """Return how many jobs of each rule a dry run plans."""
    done = snakemake(project, "-n", *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(\w+) +(\d+)$", (done.stdout + done.stderr).partition("Job stats:")[2], re.M)
    return Counter({rule: int(count) for rule, count in rows if rule not in ("total", "all", "tiny")})


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A copy of the project in which the tiny experiment has run."""
    project = copy_project(tmp_path_factory.mktemp("project"))
    write_config(project)
    done = snakemake(project, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


@pytest.fixture
def project(finished):
    """The finished project; what a test changes in it is put back."""
    kept = {path: path.read_bytes() for path in [*finished.rglob("*.py"), *finished.rglob("*.smk")]}
    yield finished
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
    write_config(finished)


def test_it_makes_what_the_readme_says_and_then_has_nothing_to_do(project):
    results = project / "results" / "tiny"
    montages = sorted(str(path.relative_to(results / "montage")) for path in (results / "montage").rglob("*.*"))
    every = ["class=3.png", "class=7.png"]
    singles = ["eps=2.png", "ladder/class=3.png", "steps/class=3.png", "animation/class=3.png"]
    singles += [f"{figure}.{suffix}" for figure in ("headline", "controls") for suffix in ("png", "md", "tex")]
    assert montages == sorted([*every, *singles])
    assert {"index.html", "measures.png", "gradients.png"} < {path.name for path in results.iterdir()}
    assert "the hypothesis" in (results / "align" / "summary.md").read_text()
    assert (results / "certified_accuracy.csv").read_text().startswith("model,sigma,radius,accuracy,low,high,n")
    assert (results / "train" / "gaussian-0.25" / "summary.json").is_file()
    assert "python -m steps.ascend" in (results / "logs/ascend/standard/sigma=0/eps=2/class=3.log").read_text()
    assert planned(project) == Counter()
    assert planned(project, "tiny") == Counter()


def test_no_experiment_may_take_the_name_of_a_rule(project):
    (project / "config.yaml").write_text(yaml.safe_dump({"run": ["train"], "experiments": {"train": TINY}}))
    done = snakemake(project, "-n")
    assert done.returncode != 0
    assert "config.experiments.train: a rule has that name; take another" in done.stdout + done.stderr


CONTRAST = {"montage_headline": 1, "montage_controls": 1, "caption_headline": 2, "caption_controls": 2}
WAY = {"montage_animation": 1, "montage_steps": 1}
ALIGN = {"align": 2, "align_summary": 1, "gradients": 1, "measures": 1, "gallery": 1} | CONTRAST
MONTAGES = {"montage_class": 2, "montage_eps": 1, "montage_ladder": 1}
ALL_ASCENTS = {"ascend": 4} | WAY | MONTAGES | ALIGN
CERTIFY = {"certify": 1, "gather": 1, "certified_accuracy": 1, "gallery": 1}
EVERYTHING = {"train": 4} | ALL_ASCENTS | CERTIFY


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        # One more epsilon: its ascents and montages; what shows all of them. The animations show one.
        (lambda c: c["ascend"].update(epsilon=[2, 3]), {"ascend": 4} | MONTAGES | ALIGN),
        (lambda c: c["models"].append({"objective": "gaussian", "sigma": 0.5}), {"train": 1} | CERTIFY),
        (lambda c: c["certify"].update(n=60), CERTIFY),
        # One more view: one line.
        (
            lambda c: c["ascend"]["views"].append({"model": "gaussian-0.25", "sigma": 0}),
            WAY | MONTAGES | ALIGN | {"ascend": 2, "align": 1, "montage_headline": 0, "caption_headline": 0},
        ),
        # No source picture: one picture more.
        (
            lambda c: c["ascend"]["views"].append({"model": "gaussian-0.25", "sigma": 0.25, "start": "seeds"}),
            {"ascend": 2, "montage_synthesis": 1, "align": 1, "align_summary": 1, "measures": 1, "gallery": 1},
        ),
        (
            lambda c: c.update(
                sweep={"views": [{"model": "gaussian-0.25", "sigma": 0.25}], "draws": [1, 4], "class": "3"}
            ),
            {"ascend": 2, "montage_sweep": 1, "gallery": 1},
        ),
        (lambda c: c["align"].update(gate=0.6), {"align_summary": 1, "measures": 1, "gallery": 1}),
        (lambda c: c["ascend"].update(steps=3), ALL_ASCENTS),
        (
            lambda c: c["train"].update(epochs=2),
            EVERYTHING | {"train": 2},
        ),  # not the judge, which has its own, and not the reference
        # What decides speed and memory alone.
        (
            lambda c: (
                c["train"].update(checkpoint_seconds=5, gpus=2, nodes=2),
                c["certify"].update(batch=10),
                c["ascend"].update(batch=9),
            ),
            {},
        ),
    ],
    ids=["epsilon", "sigma", "draws", "view", "seeds", "sweep", "gate", "steps", "epochs", "speed"],
)
def test_a_changed_value_reruns_what_depends_on_it(project, change, jobs):
    experiment = copy.deepcopy(TINY)
    change(experiment)
    write_config(project, experiment)
    assert planned(project) == Counter(jobs)


def test_the_question_of_the_paper_takes_every_certified_view_with_every_seed(project):
    experiment = copy.deepcopy(TINY)
    experiment["models"] += [{"objective": "bayes", "sigma": 0.25}, {"objective": "gaussian", "sigma": 0.5}]
    experiment["certify"]["also"] = [{"model": "standard", "sigma": 0.25}]
    experiment["property"] = {"seeds": [1, 2], "radii": [0.25]}
    write_config(project, experiment)
    found = planned(project, "results/tiny/property.png")
    # Of bayes there is nothing to draw; standard and Gaussian-trained nets get two more trainings each.
    assert found == {"train": 8, "certify": 9, "gather": 9, "ascend": 18, "align": 9, "property": 1}


def test_without_anything_to_certify_there_is_no_certified_accuracy(tmp_path):
    experiment = copy.deepcopy(TINY) | {"models": TINY["models"][:1]}
    experiment["ascend"]["views"] = TINY["ascend"]["views"][:1]
    write_config(copy_project(tmp_path), experiment)
    assert planned(tmp_path)["certified_accuracy"] == planned(tmp_path)["certify"] == 0


@pytest.mark.parametrize(
    ("file", "old", "new", "jobs"),
    [
        ("pagoda/maths/ascent.py", "logs.softmax(dim=0)", "logs.exp()", ALL_ASCENTS),
        ("pagoda/maths/ascent.py", "import math\n", "# A comment.\nimport math\n", {}),
        ("pagoda/maths/ascent.py", '"""Targeted ascent', '"""Ascent', {}),
        ("pagoda/maths/confidence.py", "(1 - coverage) / 2", "(1 - coverage) / 3", None),
        (
            "pagoda/figures/designs.py",
            "SOURCES = 8",
            "SOURCES = 9",
            MONTAGES | CONTRAST | WAY | {"gallery": 1},
        ),
    ],
    ids=["formula", "comment", "docstring", "interval", "montage"],
)
def test_edited_code_reruns_what_depends_on_it(project, file, old, new, jobs):
    text = (project / file).read_text()
    assert text.count(old) == 1
    (project / file).write_text(text.replace(old, new))
    found = planned(project)
    if jobs is None:  # train, certify and certified_accuracy print intervals; fetch does not
        assert found["fetch"] == 0 and found["train"] == 4 and found["certified_accuracy"] == 1
    else:
        assert found == Counter(jobs)


def test_a_deleted_montage_is_rebuilt_alone_and_the_same(project):
    montage = project / "results/tiny/montage/class=3.png"
    content = montage.read_bytes()
    montage.unlink()
    assert planned(project) == {"montage_class": 1}
    done = snakemake(project, "--cores", "1", "results/tiny/montage/class=3.png", PAGODA_WARM="0")
    assert done.returncode == 0 and montage.read_bytes() == content


def test_a_training_on_several_gpus_asks_for_them_and_for_what_each_process_needs(tmp_path):
    project = copy_project(tmp_path)
    write_config(project, TINY | {"threads": 2, "train": TINY["train"] | {"gpus": 4, "nodes": 2}})
    done = snakemake(project, "-n", "-p", "--cores", "16", "results/tiny/train/standard/model.safetensors")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and re.search(r"exec bash \S+/on_nodes.sh 2 4 steps.train ", said), said
    (train,) = re.findall(r"rule train:.*?resources: [^\n]*", said, re.S)
    assert "threads: 8\n" in train
    assert all(asked in train for asked in ("gpu=4", "nodes=2", "mem_mb=32000"))


WITHOUT = """
import importlib.abc, sys

class NotInstalled(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""
"""A sitecustomize.py: modules that cannot be imported."""


def test_the_report_is_made_with_what_make_installs_and_puts_the_claim_first(project, tmp_path):
    made = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "envs" / "requirements.txt").read_text(), re.M))
    further = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "envs" / "test.txt").read_text(), re.M)) - made
    modules = {name for name, of in packages_distributions().items() if {d.lower() for d in of} <= further}
    assert "pytest" in modules
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(names=modules))
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "snakemake", "--report", str(tmp_path / "report.html"), "tiny"]
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "report.html").read_text()
    categories = set(re.findall(r'"(\d (?:Pictures|Curves|Tables|Page))": ?{ ?"tiny"', text))
    assert categories == {"1 Pictures", "2 Curves", "3 Tables", "4 Page"}
    titles = sorted(set(re.findall(r'"figure": ?"(\d\d [^"]*)"', text)))
    assert titles[0].startswith("01 the claim") and titles[-1].endswith("moving")


def test_a_bundle_is_rebuilt_from_its_manifest(project, tmp_path):
    bundle = "results/tiny/bundle.zip"
    done = snakemake(project, "--cores", "2", bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    first = zipfile.ZipFile(project / bundle)
    manifest = json.loads(first.read("manifest.json"))
    # All that it takes, from the manifest alone, in an empty folder.
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(manifest["config"]))
    command = manifest["again"][1].replace("PAGODA", str(project)).replace("--cores all", "--cores 2")
    done = snakemake(tmp_path, *shlex.split(command)[1:])
    assert done.returncode == 0, done.stdout + done.stderr
    again = zipfile.ZipFile(tmp_path / bundle)
    assert (
        set(manifest["files"]) == set(again.namelist()) - {"manifest.json"} == set(first.namelist()) - {"manifest.json"}
    )
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(again.read(name)).hexdigest() == digest, name
    kinds = Counter(Path(name).suffix for name in manifest["files"])
    assert kinds[".pdf"] == kinds[".png"] - 1 > 8 and kinds[".csv"] == 3 and kinds[".tex"] == 4  # no PDF moves
    assert "3, from the first test images" in again.read("captions.md").decode()
    # Every model, and every command behind the figures, in order, as it would run.
    names = {"standard", "gaussian-0.25", "judge", "reference"}
    assert {Path(path).parts[3] for path in manifest["models"]} == names
    made = set()
    for words in map(shlex.split, manifest["commands"]):
        out = words[words.index("--out") + 1]
        assert {word for word in words if word.endswith((".npz", "model.safetensors"))} - {out} <= made
        made |= {out, out.replace(".csv", ".npz")}
    ran = Counter(words.split()[2] for words in manifest["commands"])
    assert (ran["steps.train"], ran["steps.ascend"], ran["steps.align"]) == (3, 4, 2)
    assert ran["steps.montage"] == sum("montage" in name for name in manifest["files"])


def test_answers_of_readers_are_put_together_where_there_are_any(project):
    done = snakemake(project, "-n", "results/tiny/raters.md")
    said = "no raters/tiny/*.csv: the blind test of results/tiny/index.html gives such files"
    assert done.returncode != 0 and said in done.stdout + done.stderr
    (project / "raters" / "tiny").mkdir(parents=True)
    (project / "raters" / "tiny" / "ann.csv").touch()
    assert planned(project, "results/tiny/raters.md") == {"raters": 1}
    shutil.rmtree(project / "raters")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("results/tiny/montage/class=x.png", "unknown class 'x' in a path; experiment tiny has 3, 7"),
        ("results/huge/montage/headline.png", "unknown experiment 'huge' in a path; config.yaml has tiny"),
        ("huge", "unknown target 'huge': ask for an experiment (tiny) or a path under results/"),
        ("results/tiny/montage/eps=0.png", "eps=0 in a path: must be a number above 0"),
        (
            "results/tiny/ascend/standard/sigma=-1/eps=2/class=3.npz",
            "sigma=-1 in a path: must be a number 0 or above",
        ),
        ("results/tiny/certify/standard/sigma=nan.tsv", "sigma=nan in a path: must be a number above 0"),
        (
            "results/tiny/train/gaussian-9/model.safetensors",
            "unknown model 'gaussian-9' in a path; experiment tiny has",
        ),
        (
            "montage/headlin.pdf",
            "no rule makes montage/headlin.pdf; nearest: results/tiny/montage/headline.pdf, ",
        ),
        ("results/tiny/x/y/zzz.q", "no rule makes results/tiny/x/y/zzz.q; results/README.md lists what there is"),
    ],
)
def test_bad_targets_say_what_is_allowed_in_one_last_line(project, target, said):
    done = snakemake(project, "-n", target)
    *_, last = (done.stdout + done.stderr).splitlines()
    assert done.returncode != 0 and last.startswith(f"error: {said}"), done.stderr


def test_the_list_of_rules_has_steps_and_experiments_alone(project):
    listed = set(snakemake(project, "--list").stdout.split())
    scripts = {path.stem for path in (project / "steps").glob("[a-z]*.py")}
    once = {rule for rule in listed if not rule.startswith(("montage_", "caption_"))}
    assert once == scripts - {"montage", "import_model", "fit_bayes"} | {"all", "tiny", "check_tiny"}


def test_a_bad_config_stops_everything_and_loses_nothing(project):
    before = {path: path.read_bytes() for path in (project / "results").rglob("*.*") if path.is_file()}
    experiment = copy.deepcopy(TINY)
    experiment["certify"]["alpha"] = 2
    write_config(project, experiment)
    done = snakemake(project, "--cores", "1")
    assert done.returncode != 0
    assert "config.experiments.tiny.certify.alpha is 2: must be below 1" in done.stdout + done.stderr
    assert before == {path: path.read_bytes() for path in before}


def test_a_failed_step_is_one_clear_line(project):
    model = project / "results/tiny/train/standard/model.safetensors"
    content = model.read_bytes()
    try:
        model.write_bytes(content[:100])
        done = snakemake(project, "--cores", "1", "--forcerun", "ascend", "--rerun-triggers", "mtime", "--",
                         "results/tiny/ascend/standard/sigma=0/eps=2/class=3.npz", PAGODA_WARM="0")  # fmt: skip
        assert done.returncode != 0
        assert "model.safetensors is truncated or no safetensors file" in done.stdout + done.stderr
    finally:
        model.write_bytes(content)


def test_two_runs_at_once_are_refused_and_explained(project):
    montage = "results/tiny/montage/class=3.png"
    (project / montage).unlink()
    first = subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "1", montage],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not list(project.glob(".snakemake/locks/*.lock")) and time.monotonic() < until:
        time.sleep(0.01)
    second = snakemake(project, "--cores", "1", montage)
    assert second.returncode != 0 and "cannot be locked" in second.stdout + second.stderr
    assert first.wait(timeout=120) == 0
    assert "--unlock" in (ROOT / "docs" / "reruns.md").read_text()


def test_conda_environments_exist_for_every_step(project):
    for rules in (project / "workflow" / "rules").glob("*.smk"):
        for named in re.findall(r'conda:\s+"(.*?)"', rules.read_text()):
            assert (rules.parent / named).resolve().is_file()


def test_an_imported_checkpoint_takes_the_place_of_a_training_and_another_starts_from_it(tmp_path):
    project = copy_project(tmp_path)
    network = build_seeded(0, {"name": "airbench", "widths": [8, 16]}, 10, 1)
    torch.save({"state_dict": {f"1.{k}": v for k, v in network.state_dict().items()}}, project / "net.pth.tar")
    checkpoint = {"file": "net.pth.tar", "format": "locuslab", "mean": [0.3], "std": [0.4]}
    imported = {"objective": "gaussian", "sigma": 0.25, "import": checkpoint}
    certify = TINY["certify"] | {"mode": "grid", "n": 200, "radii": [0, 0.25], "looks": [100, 200], "label_aware": True}
    predict = {"images": 4, "n": 20, "alpha": 0.1}
    tuned = {"objective": "consistency", "sigma": 0.25, "init": "gaussian-0.25"}
    models = [TINY["models"][0], imported, tuned]
    write_config(project, TINY | {"models": models, "certify": certify, "predict": predict})
    wanted = ["results/tiny/certified_accuracy.png", "results/tiny/predict/gaussian-0.25/sigma=0.25.tsv"]
    done = snakemake(project, "--cores", "2", *wanted)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "net.pth.tar" in (project / "results/tiny/train/gaussian-0.25/summary.json").read_text()
    start, end = (load_model(project / f"results/tiny/train/{name}-0.25/model.safetensors")
                  for name in ("gaussian", "consistency"))  # fmt: skip
    assert end.identity.init == start.hash and end.identity.mean == (0.3,)
    assert planned(project, *wanted) == Counter()
    (project / "net.pth.tar").unlink()
    shutil.rmtree(project / "results/tiny/train/gaussian-0.25")
    missing = snakemake(project, "-n", "results/tiny/train/gaussian-0.25/model.safetensors")
    said = missing.stdout + missing.stderr
    assert missing.returncode != 0 and "Missing input files for rule train" in said and "net.pth.tar" in said
