"""What SLURM says of jobs, and what is said of their ends."""

from dataclasses import replace

import pytest
from snakemake_executor_plugin_submitit import clusters, efficiency, slurm
from snakemake_executor_plugin_submitit.ending import explain, killed_for_memory, may_have_ended, state_of
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.waiting import Waiting


def entry(name, job_id):
    return Entry("slurm", "key", job_id, "folder", "log", (name,))


ACCOUNTING = """\
7_1|CANCELLED by 0|00:00:04|00:05:00||300M|00:01.500|8|2|1
7_1.batch|CANCELLED|00:00:04||812K||00:01.500|8|2|1
8|COMPLETED|1-00:01:00|2-00:00:00||2G|12:00:30|345840|4|2
8.batch|COMPLETED|1-00:01:00||0.50G||12:00:30|345840|4|2
8.extern|COMPLETED|1-00:01:00||1084K||00:00:00|345840|4|2
8.0|COMPLETED|00:01:00||900K||00:00:00|345840|4|2
this line is cut sho
9|OUT_OF_MEMORY|00:01:00|00:05:00||2Gn||60|1|1
10|FAILED|00:00:01|||16?||2|1|1
10.batch|CANCELLED by 0|00:00:01||61432K||00:00.100|2|1|1
"""


def test_accounting_is_read_with_the_most_memory_of_its_steps():
    found = slurm.parse_sacct(ACCOUNTING)
    assert found["7_1"] == clusters.Record("CANCELLED", "00:00:04", "00:05:00", "812K", "300M", 300, 1.5, 8)
    assert found["8"].memory == "0.50G" and found["8"].asked_mb == 1024  # on each of two nodes
    assert found["9"].state == "OUT_OF_MEMORY" and set(found) == {"7_1", "8", "9"}
    assert set(slurm.parse_sacct(ACCOUNTING, "other")) == {"7_1@other", "8@other", "9@other"}


@pytest.mark.parametrize(("text", "found"), [("2G", 1024), ("1Gc", 4096), ("2Gn", 2048), ("16?", None), ("", None)])
def test_what_was_asked_for_on_each_of_two_nodes_of_four_cores(text, found):
    assert slurm.asked_on_a_node(text, 8, 2) == found


def test_the_queue_is_read_with_its_reasons():
    found = slurm.parse_squeue("CLUSTER: other\n7|PENDING|Priority\n8_[1-3%2]|RUNNING|None\n", "other")
    assert found == {"7@other": ("PENDING", "Priority"), "8_[1-3%2]@other": ("RUNNING", "None")}


def test_holds_are_told_at_once_and_long_waits_when_they_are_long_each_once():
    waiting = Waiting(minutes=2)
    seen = {"1": clusters.Seen("PENDING", "Priority"), "2": clusters.Seen("PENDING", "JobHeldUser")}
    (held,) = waiting.news(seen, 0)
    assert held.startswith("SLURM holds 2: JobHeldUser.")
    assert waiting.news(seen, 119) == []
    (long,) = waiting.news(seen | {"2": clusters.Seen("RUNNING", "None")}, 121)
    assert long == "1: waiting for 2 minutes now. SLURM's reason: Priority"
    assert waiting.news(seen, 122)[0].startswith("SLURM holds 2")  # anew
    requeued = {"2": clusters.Seen("PENDING", "job requeued in held state")}  # it ran between two looks
    assert waiting.news(requeued, 123)[0].startswith("SLURM holds 2") and waiting.news(requeued, 124) == []
    seen = {"3": clusters.Seen("COMPLETING", "None")}
    assert waiting.news(seen, 130) == []
    assert waiting.news(seen, 260) == ["3: waiting for 2 minutes now. SLURM's reason: COMPLETING"]


def test_efficiency_is_what_was_used_of_what_was_asked_for(tmp_path):
    jobs = [("ascend", entry("a", "7_1")), ("train", entry("b", "8")), ("train", entry("c", "9"))]
    efficiency.write(tmp_path / "new" / "table.csv", jobs, lambda entries: slurm.parse_sacct(ACCOUNTING))
    lines = (tmp_path / "new" / "table.csv").read_text().splitlines()
    ascend, train = (dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:])
    assert (ascend["jobs"], ascend["failed"], ascend["longest_seconds"]) == ("1", "1", "4")
    assert ascend["cpu_efficiency"] == "0.188"  # 1.5 s over 8 core seconds
    assert (train["jobs"], train["failed"], train["longest_seconds"]) == ("2", "1", "86460")
    # 12:00:30 of CPU over 345,840 + 60 core seconds; 0.5 of 1 GiB, the other was never sampled.
    assert (train["cpu_efficiency"], train["memory_efficiency"], train["most_memory_mb"]) == ("0.125", "0.500", "512")


@pytest.mark.parametrize(
    ("status", "queued", "state", "expected"),
    [
        ("1", "FAILED", None, ("FAILED", True)),
        ("137", "FAILED", None, ("FAILED", False)),  # accounting, which lags behind, may say that it was its memory
        (None, "FAILED", "RUNNING", ("FAILED", False)),
        ("TIMEOUT", None, None, ("TIMEOUT", True)),
        (None, "NODE_FAIL", None, ("NODE_FAIL", True)),
        # SLURM's "runaway" job: its end was never heard of.
        (None, None, "RUNNING", ("LOST (squeue no longer knows it; accounting says RUNNING)", False)),
        ("TIMEOUT", "PENDING: QOSMaxCpuPerJobLimit", None, ("HOPELESS: QOSMaxCpuPerJobLimit", False)),
        ("1", "COMPLETING: None", "RUNNING", ("", False)),  # it may be about to be requeued
        (None, None, "PREEMPTED", ("PREEMPTED", False)),
        (None, None, None, ("LOST (SLURM no longer knows it)", False)),
        ("3", None, None, ("FAILED", False)),
        ("3", None, "RUNNING", ("FAILED", False)),  # slurmdbd was away when it ended
        (None, "COMPLETED", None, ("COMPLETED, but the file that says so is not to be seen from here", False)),
        (None, "PENDING: BadConstraints", None, ("HOPELESS: BadConstraints", False)),
        (None, "PENDING: InvalidAccount", None, ("HOPELESS: InvalidAccount", False)),
        (None, "PENDING: InvalidQOS", None, ("HOPELESS: InvalidQOS", False)),
        (None, "PENDING: QOSNotAllowed", None, ("HOPELESS: QOSNotAllowed", False)),
        (None, "PENDING: AccountNotAllowed", None, ("HOPELESS: AccountNotAllowed", False)),
        (None, "PENDING: DependencyNeverSatisfied", None, ("HOPELESS: DependencyNeverSatisfied", False)),
        (None, "PENDING: QOSMaxCpuPerUserLimit", None, ("", False)),
    ],
)
def test_an_end_is_told_from_what_is_known(status, queued, state, expected):
    record = None if state is None else clusters.Record(state)
    queued = None if queued is None else clusters.Seen(*queued.split(": "))
    assert state_of(status, queued, record, killed=False, accounts=True) == expected
    assert state_of("137", clusters.Seen("FAILED"), None, killed=False, accounts=False) == ("FAILED", True)
    # An epilog that hangs keeps no job from being done; nor is what runs asked for its end at each look.
    assert [may_have_ended(clusters.Seen(word)) for word in ("COMPLETING", "RUNNING")] == [True, False]


@pytest.mark.parametrize(("status", "killed"), [(None, True), ("137", True), ("1", False)])
def test_a_job_killed_beyond_its_memory_is_called_that(status, killed):
    record = clusters.Record("FAILED", memory="661548K", asked="200M", asked_mb=200)
    state, sure = state_of(status, None, record, killed=False, accounts=True)
    assert sure and state == ("OUT_OF_MEMORY (SLURM says FAILED)" if killed else "FAILED")


@pytest.mark.parametrize("status", [None, "1", "137"])
def test_slurm_itself_says_in_the_output_that_it_killed_for_memory(status, tmp_path):
    (tmp_path / "7_0_log.out").write_text(
        "slurmstepd-n1: error: StepId=7.batch exceeded memory limit (325304320 > 209715200), being killed\n"
        "slurmstepd-n1: error: Exceeded job memory limit\n"
    )
    job = Entry("slurm", "key", "7", str(tmp_path), str(tmp_path / "logs"))
    killed = killed_for_memory(job)
    state, sure = state_of(status, clusters.Seen("FAILED"), None, bool(killed), accounts=True)  # accounting lags
    assert sure and state == "OUT_OF_MEMORY (SLURM says FAILED)"
    assert "(325304320 > 209715200)" in explain(job, state, status, None, killed)
    assert killed_for_memory(replace(job, job_id="8")) == ""


LOG = """\
-- job 7, attempt 0, n1: python -m snakemake
Building DAG of jobs...
Using shell: /usr/bin/bash
Provided cores: 2
Select jobs to execute...
Execute 1 jobs...

[Wed Nov 25 20:17:25 2026]
localrule work:
    output: out.txt
    jobid: 0
  an indented line
Provided key is invalid
Traceback (most recent call last):
  File "work.py", line 1, in <module>
ValueError: the reason
[Wed Nov 25 20:17:26 2026]
Error in rule work:
    jobid: 0
    shell:
        python work.py
        (command exited with non-zero exit code)
Removing output files of failed job work since they might be corrupted:
out.txt
Shutting down, this might take some time.
Exiting because a job execution failed. Look above for error messages
WorkflowError:
At least one job did not complete successfully.
"""


def test_the_programs_last_lines_are_shown_without_those_of_the_snakemake_around_it(tmp_path):
    (tmp_path / "7.9.log").write_text("an earlier attempt\n")
    (tmp_path / "7.10.log").write_text(LOG)
    said = explain(Entry("slurm", "key", "7", str(tmp_path), str(tmp_path)), "FAILED", "1", None).splitlines()
    assert said[1] == f"log: {tmp_path / '7.10.log'}"
    assert said[2:] == [
        "      an indented line",
        "    Provided key is invalid",
        "    Traceback (most recent call last):",
        '      File "work.py", line 1, in <module>',
        "    ValueError: the reason",
    ]


def test_what_the_wrapper_said_is_shown_where_there_is_no_log(tmp_path):
    (tmp_path / "7_0_log.out").write_text("ModuleNotFoundError: No module named 'submitit'\n")
    said = explain(Entry("slurm", "key", "7", str(tmp_path), str(tmp_path / "logs")), "FAILED", None, None)
    assert said.startswith("slurm job 7: FAILED\n") and "No module named 'submitit'" in said
