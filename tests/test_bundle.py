import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from pagoda.errors import BadInput
from pagoda.figures.markup import cell, tabular
from steps import bundle

RAN = {
    "fetch": "python -m steps.fetch --out R/fetch/dataset.json",
    "train/a": "python -m steps.train --data R/fetch/dataset.json --out R/train/a/model.safetensors '--model={a: 1}'",
    "train/b": "python -m steps.train --data R/fetch/dataset.json --out R/train/b/model.safetensors",
    "ascend/1": "python -m steps.ascend --model R/train/a/model.safetensors --out 'R/ascend/x y/1.npz'",
    "montage": "python -m steps.montage --ascents @R/list.txt --measures --out R/montage/one.png",
    "table": "python -m steps.gather --tables R/ascend/2.tsv --out R/certified_accuracy.png",
}
TABLE = "model,sigma,radius,accuracy,low,high,n\na_1,0.5,0,0.5,0.4,0.6,9\na_1,0.5,1,0.25,,,9\n"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Of an experiment R, in the current one: files, logs of what made them, and of what made others."""
    monkeypatch.chdir(tmp_path)
    for name, line in RAN.items():
        log = Path("R", "logs", f"{name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"12:00:00 an earlier start\n12:00:01 {line}\n12:00:02 done\n")
    files = {"montage/one.png": "P", "certified_accuracy.csv": TABLE, "train/a/model.safetensors": "M"}
    for name, content in files.items():
        Path("R", name).parent.mkdir(parents=True, exist_ok=True)
        Path("R", name).write_text(content)
    Path("R", "list.txt").write_text("R/ascend/x y/1.npz\n")
    about = {"experiment": "R", "config": {"run": ["R"]}, "epsilon": 2, "captions": {"montage/one": "What it shows."}}
    Path("about.json").write_text(json.dumps(about))
    return Path("R")


def test_the_manifest_has_what_ran_for_these_files_alone_in_order(folder):
    asked = bundle.Config(
        files=(folder / "montage/one.png", folder / "certified_accuracy.csv"), about="about.json", out=folder / "b.zip"
    )
    manifest = bundle.run(asked)
    # The list's ascents, their model, its data; the table by the figure beside it. Nothing of model b.
    assert manifest["commands"] == [RAN[name] for name in ("fetch", "train/a", "ascend/1", "montage", "table")]
    assert manifest["models"] == {"R/train/a/model.safetensors": hashlib.sha256(b"M").hexdigest()[:12]}
    assert manifest["versions"]["torch"] and manifest["again"][1].endswith("--cores all R/b.zip")
    archive = zipfile.ZipFile(folder / "b.zip")
    assert {name: hashlib.sha256(archive.read(name)).hexdigest() for name in manifest["files"]} == manifest["files"]
    assert archive.read("figures/montage/one.png") == b"P" and b"What it shows." in archive.read("captions.md")
    tex = archive.read("tables/certified_accuracy.tex").decode()
    assert r"a\_1 & 0.5 & 0.50 [0.40, 0.60] & 0.25 \\" in tex
    first = (folder / "b.zip").read_bytes()
    bundle.run(asked)
    assert (folder / "b.zip").read_bytes() == first


def test_a_missing_file_is_named(folder):
    with pytest.raises(BadInput, match=r"cannot read R/two\.png: No such file"):
        bundle.run(bundle.Config(files=(folder / "two.png",), about="about.json", out=folder / "b.zip"))


def test_latex_is_escaped_and_a_missing_value_is_a_dash():
    nan = float("nan")
    assert (cell(nan, nan, nan), cell(0.5, nan, nan, 3), cell(0.125, 0, 1, 3)) == ("–", "0.500", "0.125 [0.000, 1.000]")
    made = tabular(["a & b", "σ ↑"], [["50 %", "{x}"]])
    assert made.splitlines()[2] == r"a \& b & $\sigma$ $\uparrow$ \\" and r"50 \% & \{x\} \\" in made
