"""The parts of the executor that need no cluster."""

import os
import threading

import pytest
from snakemake_executor_plugin_submitit import cluster
from snakemake_executor_plugin_submitit.journal import Entry, Journal, job_key
from snakemake_executor_plugin_submitit.node import clean_environment
from snakemake_executor_plugin_submitit.resources import BadResource, sbatch_parameters


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
    ],
)
def test_bad_resources_are_one_line(asked, said):
    with pytest.raises(BadResource, match=said):
        sbatch_parameters(asked, threads=1)


def test_accounting_is_read_with_the_memory_of_its_steps():
    found = cluster.parse_sacct(
        "7_1|CANCELLED by 0|0:15|00:00:04|00:05:00||300M\n7_1.batch|CANCELLED|0:15|00:00:04||812K|\n"
        "8|OUT_OF_MEMORY|0:125|00:01:00|00:05:00||1G\n"
    )
    assert found["7_1"] == cluster.Record("CANCELLED", "0:15", "00:00:04", "00:05:00", "812K", "300M")
    assert found["8"].state == "OUT_OF_MEMORY" and set(found) == {"7_1", "8"}
    assert cluster.parse_squeue("7_1|PENDING\n8|RUNNING\n") == {"7_1": "PENDING", "8": "RUNNING"}


def test_a_preempted_job_is_not_over_and_an_outage_is_said(monkeypatch, tmp_path):
    assert "PREEMPTED" in cluster.ALIVE and "TIMEOUT" not in cluster.ALIVE
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(cluster.Outage, match="squeue"):
        cluster.queued("me")


def test_nothing_of_a_surrounding_job_leaks(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    inside = cluster.scrubbed_environment()
    assert "SLURM_ARRAY_TASK_ID" not in inside and inside["SLURM_CONF"] == "/etc/slurm.conf"
    assert clean_environment({"SUBMITIT_FOLDER": "x", "SLURM_JOB_ID": "3"}) == {"SLURM_JOB_ID": "3"}


def test_two_threads_that_submit_leave_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    before, seen = dict(os.environ), []

    def submit():
        for _ in range(300):
            with cluster.scrubbed():
                seen.append("SLURM_ARRAY_TASK_ID" in os.environ or "PATH" not in os.environ)

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(os.environ) == before and not any(seen) and len(seen) == 1200


def test_the_journal_knows_what_is_open_even_after_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "deep" / "journal.jsonl")
    assert journal.open_entries() == {}
    a, b = (
        Entry(job_key("work", [name], ["touch"]), job, "folder", "log") for name, job in (("a", "1_0"), ("b", "1_1"))
    )
    journal.submitted([a, b])
    journal.ended("1_0")
    with journal.path.open("a") as file:
        file.write('{"key": "x", "job_')
    assert Journal(journal.path).open_entries() == {b.key: b}
    assert job_key("work", ["a"], ["touch"]) != job_key("work", ["a"], ["touch -c"])
