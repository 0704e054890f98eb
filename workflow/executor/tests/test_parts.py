"""The parts of the executor that need no cluster."""

import ast
import os
import sys
import threading
import time
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import pytest
from heads import PLUGIN
from snakemake_executor_plugin_submitit import clusters, efficiency, slurm
from snakemake_executor_plugin_submitit.batch import Batch, Member
from snakemake_executor_plugin_submitit.clusters import Refused
from snakemake_executor_plugin_submitit.ending import explain, state_of
from snakemake_executor_plugin_submitit.journal import Entry, Journal, job_key
from snakemake_executor_plugin_submitit.node import clean_environment
from snakemake_executor_plugin_submitit.resources import BadResource, sbatch_parameters, shared_name


def test_resources_become_what_sbatch_takes():
    asked = {
        "runtime": 90,
        "mem_mb": 2500,
        "gpu": 2,
        "gpu_model": "a100",
        "slurm_partition": "long",
        "slurm_account": "me",
    }
    found = sbatch_parameters(asked | {"slurm_extra": "--exclude=n1 --exclusive", "speed": "--batch=3"}, threads=4)
    assert found == {
        "time": 90,
        "cpus_per_task": 4,
        "nodes": 1,
        "mem": "2500M",
        "partition": "long",
        "account": "me",
        "additional_parameters": {"exclude": "n1", "exclusive": True, "gpus-per-node": "a100:2"},
    }
    assert sbatch_parameters({"cpus_per_task": 8, "mem_mb_per_cpu": 100}, threads=1)["mem_per_cpu"] == "100M"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"runtime": "soon"}, "runtime=soon: must be a whole number, at least 1"),
        ({"runtime": 0}, "runtime=0"),
        ({"mem_mb": -5}, "mem_mb=-5: must be a whole number, at least 1"),
        ({"gpu": -1}, "gpu=-1: must be a whole number, at least 0"),
        ({"gpu": 1, "gres": "gpu:1"}, "gpu=1 and gres=gpu:1: ask for GPUs by one of them"),
        ({"gpu_model": "a100"}, "gpu_model=a100 without gpu"),
        ({"slurm_extra": "exclusive"}, "slurm_extra='exclusive': must be long options"),
        ({"slurm_extra": "--comment=it's"}, "No closing quotation"),
    ],
)
def test_bad_resources_are_one_line(asked, said):
    with pytest.raises(BadResource, match=said):
        sbatch_parameters(asked, threads=1)


ACCOUNTING = """\
7_1|CANCELLED by 0|00:00:04|00:05:00||300M|00:01.500|8
7_1.batch|CANCELLED|00:00:04||812K||00:01.500|8
8|COMPLETED|1-00:01:00|2-00:00:00||1G|12:00:30|345840
8.batch|COMPLETED|1-00:01:00||0.50G||12:00:30|345840
this line is cut sho
9|OUT_OF_MEMORY|00:01:00|00:05:00||2Gn||60
10|FAILED|00:00:01|||16?||2
10.batch|CANCELLED by 0|00:00:01||61432K||00:00.100|2
"""


def test_accounting_is_read_with_the_memory_of_its_steps():
    found = slurm.parse_sacct(ACCOUNTING)
    assert found["7_1"] == clusters.Record("CANCELLED", "00:00:04", "00:05:00", "812K", "300M", 1.5, 8)
    assert found["9"].state == "OUT_OF_MEMORY" and set(found) == {"7_1", "8", "9"}
    assert slurm.parse_squeue("7|PENDING|Priority\n8|RUNNING|None\n") == {"7": "PENDING", "8": "RUNNING"}
    assert slurm.parse_squeue("9|PENDING|PartitionConfig") == {"9": "HOPELESS: PartitionConfig"}


def test_efficiency_is_what_was_used_of_what_was_asked_for(tmp_path):
    rules = {"7_1": "ascend", "8": "train", "9": "train"}
    efficiency.write(tmp_path / "new" / "table.csv", rules, lambda ids: slurm.parse_sacct(ACCOUNTING))
    lines = (tmp_path / "new" / "table.csv").read_text().splitlines()
    ascend, train = (dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:])
    assert (ascend["jobs"], ascend["failed"], ascend["longest_seconds"]) == ("1", "1", "4")
    assert ascend["cpu_efficiency"] == "0.188"  # 1.5 s over 8 core seconds
    assert (train["jobs"], train["failed"], train["longest_seconds"]) == ("2", "1", "86460")
    # 12:00:30 of CPU over 345,840 + 60 core seconds; 0.5 of 1 GiB, the other was never sampled.
    assert (train["cpu_efficiency"], train["memory_efficiency"], train["most_memory_mb"]) == ("0.125", "0.500", "512")


def test_an_array_is_named_for_what_its_jobs_share():
    jobs = [{"model": "gaussian-0.5", "target": f"it's {k}"} for k in range(3)]
    assert shared_name("ascend", jobs) == "ascend:model=gaussian-0.5:target=*"
    assert shared_name("ascend", jobs[:1]) == "ascend:model=gaussian-0.5:target=it_s_0"
    assert shared_name("all", [{}, {}]) == "all"


def test_what_is_refused_for_now_is_tried_later_and_later():
    batch = Batch("work", {}, (), [Member(SimpleNamespace(wildcards_dict={}), None, str(k)) for k in range(5)])
    assert batch.again(Refused("Invalid account"), wait=10, ours=True) == []
    now = time.monotonic()
    (later,) = batch.again(Refused("Socket timed out", later=True), wait=10, ours=False)
    assert len(later.members) == 5 and later.before - now == pytest.approx(10, abs=1)
    (later,) = replace(batch, tries=90).again(Refused("Socket timed out", later=True), wait=10, ours=False)
    assert later.before - now == pytest.approx(300, abs=1)  # an outage never fails a job
    limit = Refused("job submit limit", too_many=True)
    assert [len(part.members) for part in batch.again(limit, wait=10, ours=False)] == [3, 2]
    # As long as our own jobs fill the limit, there is hope; else not for ever: sbatch says the same of a job too large.
    assert replace(batch, tries=90).again(limit, wait=10, ours=True)
    assert not replace(batch, tries=90).again(limit, wait=10, ours=False)


def test_a_preempted_job_is_not_over_and_an_outage_is_said(monkeypatch, tmp_path):
    assert "PREEMPTED" in clusters.ALIVE and "TIMEOUT" not in clusters.ALIVE
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(clusters.Outage, match="squeue"):
        slurm.ask("squeue")


def test_nothing_of_a_surrounding_job_leaks(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SQUEUE_PARTITION", "mine")
    inside = slurm.scrubbed_environment()
    assert not {"SLURM_ARRAY_TASK_ID", "SQUEUE_PARTITION"} & set(inside) and inside["SLURM_CONF"] == "/etc/slurm.conf"
    assert clean_environment({"SUBMITIT_FOLDER": "x", "SLURM_JOB_ID": "3"}) == {"SLURM_JOB_ID": "3"}


def test_two_threads_that_submit_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    before, seen = dict(os.environ), []

    def submit():
        for _ in range(300):
            with slurm.scrubbed():
                seen.append("SLURM_ARRAY_TASK_ID" in os.environ or "PATH" not in os.environ)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(os.environ) == before and not any(seen) and len(seen) == 1200


def entry(name, job_id, cluster="slurm"):
    return Entry(cluster, job_key("work", [name], ["touch"]), job_id, "folder", "log", (name,))


def test_the_journal_knows_what_is_open_even_after_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    assert journal.open_entries() == []
    a, b, c = entry("a", "1_0"), entry("b", "1_1"), entry("c", "1_2")
    journal.note("submitted", [a, b, c])
    journal.note("ended", [a])
    journal.note("cancelled", [c])
    with journal.path.open("a") as file:
        file.write('{"key": "x", "job_')
    assert Journal(journal.path).open_entries() == [b, replace(c, cancelled=True)]
    assert job_key("work", ["a"], ["touch"]) != job_key("work", ["a"], ["touch -c"])
    assert job_key("work", ["b", "a"], ["y", "x"]) == job_key("work", ["a", "b"], ["x", "y"])


def test_a_number_that_comes_again_is_another_job(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    first, again = entry("a", "4711", "local"), entry("b", "4711", "local")
    journal.note("submitted", [first])
    journal.note("ended", [first])
    journal.note("submitted", [again])
    assert journal.open_entries() == [again]


@pytest.mark.parametrize(
    ("status", "queued", "state", "expected"),
    [
        ("1", "FAILED", None, ("FAILED", True)),
        ("137", "FAILED", None, ("FAILED", False)),  # accounting, which lags behind, may say that it was its memory
        (None, "FAILED", "RUNNING", ("FAILED", False)),
        ("TIMEOUT", None, None, ("TIMEOUT", True)),
        (None, "NODE_FAIL", None, ("NODE_FAIL", True)),
        (None, None, "RUNNING", ("", False)),  # the queue hides it, accounting does not
        (None, None, "PREEMPTED", ("PREEMPTED", False)),
        (None, None, None, ("LOST (SLURM no longer knows it)", False)),
        ("3", None, None, ("FAILED", False)),
        (None, "COMPLETED", None, ("COMPLETED, but the file that says so is not to be seen from here", False)),
        (None, "HOPELESS: BadConstraints", None, ("HOPELESS: BadConstraints", False)),
    ],
)
def test_an_end_is_told_from_what_is_known(status, queued, state, expected):
    record = None if state is None else clusters.Record(state)
    assert state_of(status, queued, record, accounts=True) == expected
    assert state_of("137", "FAILED", None, accounts=False) == ("FAILED", True)


@pytest.mark.parametrize(("status", "killed"), [(None, True), ("137", True), ("1", False)])
def test_a_job_killed_beyond_its_memory_is_called_that(status, killed):
    record = clusters.Record("FAILED", memory="661548K", asked="200M")
    state, sure = state_of(status, None, record, accounts=True)
    assert sure and state == ("OUT_OF_MEMORY (SLURM says FAILED)" if killed else "FAILED")


def test_what_the_wrapper_said_is_shown_where_there_is_no_log(tmp_path):
    (tmp_path / "7_0_log.out").write_text("ModuleNotFoundError: No module named 'submitit'\n")
    said = explain(Entry("slurm", "key", "7", str(tmp_path), str(tmp_path / "logs")), "FAILED", None, None)
    assert said.startswith("slurm job 7: FAILED\n") and "No module named 'submitit'" in said


def test_the_wheel_holds_the_plugin_and_nothing_of_a_workflow(tmp_path):
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder(str(PLUGIN))
    (wheel,) = builder.build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    package = "snakemake_executor_plugin_submitit"
    assert {name.split("/")[0] for name in names} == {package, f"{package}-{builder.metadata.version}.dist-info"}
    sources = [ast.parse(path.read_text()) for path in (PLUGIN / package).glob("*.py")]
    nodes = [node for source in sources for node in ast.walk(source)]
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    needed = {"psutil", "snakemake_interface_common", "snakemake_interface_executor_plugins", "submitit"}
    assert {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names) == needed | {package}
