import dataclasses
import json
import resource
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import safetensors.torch
import torch

from steps import certificates, certified_accuracy, certify
from steps.nets.model import load_model, read_identity, save_model
from steps.run.errors import BadInput
from tests.conftest import ROOT, run_step, write_model

COHEN = ["idx", "label", "predict", "radius", "correct", "time"]


@pytest.fixture
def asked(model, dataset, tmp_path):
    out = tmp_path / "certify" / "gaussian-0.5" / "sigma=0.5.tsv"
    return certify.Config(model=model, data=dataset, out=out, sigma=0.5, images=12, n0=20, n=300, alpha=0.01, batch=64)


def rows(path):
    """The table without the column that is not repeatable."""
    return pd.read_csv(path, delimiter="\t").drop(columns="time")


def test_every_kth_image_gets_a_row_that_public_analyses_can_read(asked):
    table = pd.read_csv(certify.run(asked), delimiter="\t")
    assert list(table.columns[:6]) == COHEN
    assert table.idx.tolist() == [k * 359 // 12 for k in range(12)]
    assert (table.draws == 300).all() and (table.radius[table.predict == -1] == 0).all()
    assert (table.correct == (table.predict == table.label)).all()
    facts = json.loads(asked.out.with_suffix(".json").read_text())
    assert (facts["sigma"], facts["n"], facts["alpha"], facts["model"]) == (0.5, 300, 0.01, "gaussian-0.5")
    assert not list(asked.out.parent.glob("*partial*"))


def test_neither_batch_size_nor_shards_change_a_row(asked):
    whole = rows(certify.run(asked))
    assert rows(certify.run(dataclasses.replace(asked, batch=7))).equals(whole)
    facts = asked.out.with_suffix(".json").read_text()
    shards = [
        certify.run(dataclasses.replace(asked, shard=f"{k}/3", out=asked.out.with_name(f"{k}-of-3.tsv")))
        for k in (1, 2, 3)
    ]
    gathered = certificates.run(certificates.Config(tables=tuple(shards), out=asked.out.with_name("gathered.tsv")))
    assert rows(gathered).equals(whole)
    assert json.loads(facts) == json.loads(gathered.with_suffix(".json").read_text()) | {"shard": "1/1"}


def test_tables_that_are_not_the_shards_of_one_are_refused(asked):
    one, two = (
        certify.run(dataclasses.replace(asked, shard=f"{k}/2", out=asked.out.with_name(f"{k}-of-2.tsv")))
        for k in (1, 2)
    )
    out = asked.out.with_name("gathered.tsv")
    with pytest.raises(BadInput, match=r"the tables are shards 1/2, 1/2: all of 1/2, 2/2 are needed"):
        certificates.run(certificates.Config(tables=(one, one), out=out))
    other = dataclasses.replace(asked, shard="2/2", seed=1, out=asked.out.with_name("other.tsv"))
    with pytest.raises(BadInput, match=r"other.tsv and .*1-of-2.tsv differ in seed"):
        certificates.run(certificates.Config(tables=(one, certify.run(other)), out=out))
    two.unlink()
    with pytest.raises(BadInput, match=r"no .*2-of-2.tsv: the certify step writes it"):
        certificates.run(certificates.Config(tables=(one, two), out=out))
    assert not out.exists()


def test_killed_it_goes_on_behind_the_last_whole_row(asked, tmp_path):
    whole = rows(certify.run(asked))
    other = dataclasses.replace(asked, out=tmp_path / "killed" / "sigma=0.5.tsv")
    pairs = ((f.name, getattr(other, f.name)) for f in dataclasses.fields(other))
    command = [sys.executable, "-m", "steps.certify", *(w for k, v in pairs for w in (f"--{k}", str(v)))]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = list(tmp_path.glob("killed/*.partial.tsv"))
        if found and found[0].read_text().count("\n") > 3:
            break
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (partial,) = tmp_path.glob("killed/*.partial.tsv")
    kept = partial.read_text().splitlines()
    partial.write_text("\n".join(kept) + "\n" + "17\t3\t4\t0.3")  # and a row that the interruption tore
    times = [line.split("\t")[5] for line in kept[1:]]
    final = pd.read_csv(certify.run(other), delimiter="\t")
    assert final.drop(columns="time").equals(whole)
    assert final.time.tolist()[: len(times)] == times and len(times) >= 3  # kept, not made anew


def test_a_full_disk_keeps_the_rows_before_it(asked):
    pairs = ((f.name, getattr(asked, f.name)) for f in dataclasses.fields(asked))
    done = run_step(
        "certify", *(w for k, v in pairs for w in (f"--{k}", v)),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (400, 400)),
    )  # fmt: skip
    assert done.returncode == 2 and "File too large (its whole rows are kept for the next run)" in done.stderr
    (partial,) = asked.out.parent.glob("*.partial.tsv")
    assert partial.read_text().count("\n") >= 2 and not asked.out.exists()
    assert len(rows(certify.run(asked))) == 12


def test_rows_of_another_config_are_not_taken(asked):
    certify.run(asked)
    text = asked.out.read_text()
    facts = json.loads(asked.out.with_suffix(".json").read_text())
    asked.out.with_name("sigma=0.5.0123456789ab.partial.tsv").write_text(text)
    again = rows(certify.run(dataclasses.replace(asked, n=400)))
    assert facts["n"] == 300 and (again.draws == 400).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sigma": 0.0}, "sigma is 0: a smoothed classifier needs noise"),
        ({"sigma": -1.0}, "sigma is -1"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"alpha": 0.0}, "alpha is 0: must be above 0 and below 1"),
        ({"alpha": 1.0}, "alpha is 1"),
        ({"n0": 0}, "n0 is 0: must be at least 1"),
        ({"n": 0}, "n is 0: must be at least 1"),
        ({"shard": "4/3"}, "shard is '4/3': must be i/k"),
    ],
)
def test_bad_values_are_refused(asked, changes, said):
    with pytest.raises(BadInput, match=said):
        certify.run(dataclasses.replace(asked, **changes))


def test_logits_that_are_not_finite_stop_it_and_name_the_image(asked):
    loaded = load_model(asked.model, torch.device("cpu"))
    weights = safetensors.torch.load_file(asked.model)
    weights["fc.bias"][0] = float("nan")
    loaded.classifier.network.load_state_dict(weights)
    save_model(asked.model, loaded.classifier.network, read_identity(asked.model))
    with pytest.raises(BadInput, match=r"test image 0 at sigma 0\.5: .*not finite.*gaussian-0\.5/model"):
        certify.run(asked)


def test_a_model_for_other_pictures_is_refused(asked, dataset):
    write_model(asked.model, dataset, size=16)
    with pytest.raises(BadInput, match="takes pictures of 1 x 16 x 16"):
        certify.run(asked)


def write_table(path, correct, radius):
    pd.DataFrame({"correct": correct, "radius": radius}).to_csv(path, sep="\t", index=False)
    path.with_suffix(".json").write_text(json.dumps({"model": "g", "sigma": 1, "n": 10, "alpha": 0.1}))
    return path


def test_certified_accuracy_counts_what_is_right_and_large_enough(tmp_path):
    table = write_table(tmp_path / "t.tsv", [1, 1, 1, 0, 0], [0.25, 0.6, 2.0, 3.0, 0.0])
    frame = certified_accuracy.run(certified_accuracy.Config(tables=(table,), out=tmp_path / "c.png"))
    at = frame.set_index("radius").accuracy
    assert [at[r] for r in (0, 0.25, 0.5, 0.75, 2.0, 2.25)] == pytest.approx([0.6, 0.6, 0.4, 0.2, 0.2, 0.0])
    assert (frame.low <= frame.accuracy).all() and (frame.accuracy <= frame.high).all() and (frame.n == 5).all()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    assert certified_accuracy.average_certified_radius(pd.read_csv(table, sep="\t")) == pytest.approx(0.57)


def test_tables_that_are_missing_or_empty_are_named(tmp_path):
    empty = write_table(tmp_path / "t.tsv", [], [])
    for path, said in ((empty, "has no rows"), (tmp_path / "none.tsv", "no .*none.tsv")):
        with pytest.raises(BadInput, match=said):
            certified_accuracy.run(certified_accuracy.Config(tables=(path,), out=tmp_path / "c.png"))
