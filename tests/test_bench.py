"""The benchmarks at sizes that say nothing of speed: every contender still runs, a missing peer is a row."""

import json
import math
import subprocess
import sys

import torch
from scipy import stats

from pagoda.options.models import Muon
from tests.bench import certification, gpu, rates, speed
from tests.conftest import ROOT

ABSENT = """
import sys
for name in {names}:
    sys.modules[name] = None
from tests.bench import gpu
sys.exit(gpu.main(sys.argv[1:]))
"""
"""Runs the benchmark of a GPU where packages cannot be imported."""


def test_every_contender_runs_and_a_missing_peer_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(rates, "ROUNDS", 1)
    monkeypatch.setattr(speed, "NETS", {"resnet20": (8, 1, 1, 1)})
    monkeypatch.setattr(speed, "TRAINED", {"resnet20": (8, 4, 2)})
    monkeypatch.setattr(speed, "PEERS", tmp_path)
    monkeypatch.setattr(speed, "matmul_rate", lambda device, precision: 1e9)
    monkeypatch.setattr(sys, "path", list(sys.path))
    cpu = torch.device("cpu")
    rows = {what: value for what, value, _ in speed.ascending("resnet20", tmp_path, cpu)}
    rows |= {what: value for what, value, _ in speed.training("resnet20", tmp_path, cpu)}
    missing = {"ascend resnet20, ART", "ascend resnet20, robustness"}
    assert {what for what, value in rows.items() if value == "-"} == missing
    assert all(math.isfinite(float(value)) for what, value in rows.items() if what not in missing)
    assert {"train resnet20, ours / plain loop", "ascend resnet20, ours / plain loop"} < set(rows)


def test_draws_are_counted_for_images_as_published_curves_have_them():
    images = certification.curves()
    assert [sigma for sigma, *_ in images] == [0.12, 0.25, 0.5, 1]
    _, p, right = images[2]
    certified = right & (p >= stats.norm.cdf(0.5 / 0.5))
    assert abs(certified.mean() - 0.41) < 0.03  # Cohen et al. 2019, table 1: at radius .5 under sigma .5
    told = []
    certification.draws(images[2:3], 10_000, certification.RADII, "", (3, 3), lambda *row: told.append(row))
    (times,) = (value for what, value, _ in told if what == "times fewer draws, grid, n = 10,000")
    assert float(times.partition(",")[0]) > 2


def test_the_benchmark_of_a_gpu_runs_with_torch_numpy_and_scipy_alone(tmp_path):
    assert Muon(name="muon").values() == gpu.MUON
    names = ["pydantic", "yaml", "safetensors", "pandas", "sklearn", "matplotlib", "jinja2", "filelock", "snakemake"]
    command = [sys.executable, "-c", ABSENT.format(names=names), "--toy", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "gpu.json").read_text())
    rows = {row["figure"]: row for row in told["rows"]}
    assert told["toy"] and not [figure for figure in rows if figure.endswith("failed")]
    for precision in ("float32", "bfloat16"):
        assert rows[f"certificates resnet20, {precision}, equal for batches"]["value"] == "1, 7, 250, 1000"
    assert rows["out of memory resnet20, at once after halving"]["value"] == "8"
    (apart,) = (row for figure, row in rows.items() if figure.startswith("votes on the CPU and on"))
    assert 0 <= float(apart["value"]) < 4
    assert 0 <= float(rows["certified accuracy at radius 0"]["value"]) <= 1
    table = (tmp_path / "gpu.md").read_text()
    assert all(f"| {figure} |" in table for figure in rows)
    assert torch.cuda.is_available() or "No GPU ran this" in table
