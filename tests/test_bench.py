"""The benchmark of speed at a size that says nothing of speed: every contender still runs, a missing peer is a row."""

import math
import sys

import torch

from tests.bench import speed


def test_every_contender_runs_and_a_missing_peer_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "ROUNDS", 1)
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
