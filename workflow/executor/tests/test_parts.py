"""The parts of the executor that need no cluster."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from heads import PLUGIN
from snakemake.io import ancient
from snakemake_executor_plugin_submitit import clusters, sbatch, slurm, tidy, waiting
from snakemake_executor_plugin_submitit.batch import Batch, Member, key_of
from snakemake_executor_plugin_submitit.clusters import Refused
from snakemake_executor_plugin_submitit.journal import Entry, Journal
from snakemake_executor_plugin_submitit.node import Command, clean_environment
from snakemake_executor_plugin_submitit.waiting import one_look_at_a_time


@pytest.mark.parametrize(
    ("printed", "answer"),
    [
        ("7\n", ("7", "")),
        ("7;other\n", ("7", "other")),
        ("Welcome to cluster 9!\nYou have 3 jobs\n\n7;other \n", ("7", "other")),
        ("Submitted batch job 7\n", ("7", "")),
        ("Submitted batch job 7 on cluster other\n", ("7", "other")),
        ("You have used 30 of 500 hours\n", None),
        ("", None),
    ],
)
def test_the_last_line_of_what_sbatch_prints_is_read(printed, answer):
    assert sbatch.read_answer(printed) == answer


@pytest.mark.parametrize(
    ("said", "later", "too_many", "unsure"),
    [
        ("error: Socket timed out on send/recv operation", True, False, True),
        ("error: Batch job submission failed: Unexpected message received", True, False, True),
        ("error: Batch job submission failed: Transport endpoint is not connected", True, False, True),
        ("", True, False, True),
        ("error: QOSMaxCpuPerNode error: Job violates accounting/QOS policy", False, False, False),
        ("error: QOSMaxSubmitJobPerUserLimit error: Job violates accounting/QOS policy", True, True, False),
        (
            "error: QOSMaxCpuPerJobLimit error: Job violates accounting/QOS policy (job submit limit)",
            False,
            False,
            False,
        ),
        (
            "error: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            True,
            True,
            False,
        ),
        ("error: invalid partition specified: nowhere", False, False, False),
    ],
)
def test_a_limit_reached_now_is_told_from_one_that_the_job_would_always_reach(said, later, too_many, unsure):
    refused = sbatch.refusal(said)
    assert (refused.later, refused.too_many, refused.unsure) == (later, too_many, unsure)
    killed = sbatch.refusal(said, status=-9)
    assert killed.later and killed.unsure


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
    for ours, times in ((False, 12), (True, 90)):
        tried = replace(batch, tries=90, members=batch.members[:1])  # refused before, but not for that
        while tried.tries < 90 + times:
            (tried,) = tried.again(limit, wait=10, ours=ours)
        assert bool(tried.again(limit, wait=10, ours=ours)) is ours


def test_a_preempted_job_is_not_over_and_an_outage_is_said(monkeypatch, tmp_path):
    assert "PREEMPTED" in clusters.ALIVE and "TIMEOUT" not in clusters.ALIVE
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(clusters.Outage, match="squeue"):
        slurm.ask("squeue")


def test_nothing_of_a_surrounding_job_leaks(monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SQUEUE_PARTITION", "mine")
    inside = slurm.scrubbed()
    assert not {"SLURM_ARRAY_TASK_ID", "SQUEUE_PARTITION"} & set(inside) and inside["SLURM_CONF"] == "/etc/slurm.conf"
    assert clean_environment({"SUBMITIT_FOLDER": "x", "SLURM_JOB_ID": "3"}) == {"SLURM_JOB_ID": "3"}


def test_snakemake_plans_one_look_for_jobs_at_a_time(monkeypatch):
    class Scheduler:
        planned = 0

        def _schedule_reevalutation(self, delay):
            self.planned += 1

    scheduler, now = Scheduler(), [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now[0])
    for after in (0, 0, 0.3, 0.3, 0.4, 0.1, 0.9):  # looks at 0, 0, .3, .6, 1, 1.1 and 2 s; the second one was due at 1
        now[0] += after
        one_look_at_a_time(scheduler)
        scheduler._schedule_reevalutation(1)
    assert scheduler.planned == 3
    for _ in range(100):  # 100 jobs an hour: neither a look each second nor one for each job that has ended
        now[0] += 1
        scheduler._schedule_reevalutation(3600)
    assert scheduler.planned == 5


def test_a_submission_changes_nothing_in_the_head_and_takes_nothing_of_a_surrounding_job_along(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    before, seen = dict(os.environ), []

    def run(words, env, **_):
        seen.append(env)
        assert dict(os.environ) == before  # a local rule may start just now
        return subprocess.CompletedProcess(words, 0, "7;other\n", "")

    monkeypatch.setattr(sbatch.subprocess, "run", run)
    made = sbatch.Sbatch(tmp_path / "sent", 3)
    command = Command("touch out", "logs", 3)
    assert made.send("work", {"time": 5}, [command] * 2, 1, slurm.scrubbed()) == (["7_0", "7_1"], "other")
    assert "--signal" not in (tmp_path / "sent" / sbatch.SCRIPT).read_text()  # srun's steps would get submitit's own
    assert dict(os.environ) == before and "SLURM_JOB_ID" not in seen[0]


@pytest.mark.parametrize(("states", "found"), [(["PENDING", "RUNNING"], ["7_0", "7_1"]), (["PENDING", "FAILED"], [])])
def test_of_jobs_whose_answer_got_lost_those_count_that_may_still_run(states, found, monkeypatch, tmp_path):
    (tmp_path / sbatch.SCRIPT).touch()
    for program in ("srun", "sbatch", "squeue", "scancel"):
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    lines = [f"7|{state}|2026-11-25T20:00:00|work|/|{tmp_path / sbatch.SCRIPT}\n" for state in states]
    monkeypatch.setattr(slurm, "ask", lambda *words: "".join(lines))
    here = slurm.Slurm(tmp_path, clusters.ExecutorSettings())
    assert [taken.job_id for taken in here._find(tmp_path, "work", "", 2)] == found


def test_an_outage_does_not_hide_the_clusters_longest_array_for_ever(monkeypatch):
    def away(*words):
        raise clusters.Outage("away")

    monkeypatch.setattr(slurm, "ask", away)
    with pytest.raises(clusters.Outage):
        slurm.max_array_size("a cluster")
    monkeypatch.setattr(slurm, "ask", lambda *words: "MaxArraySize            = 201\n")
    assert slurm.max_array_size("a cluster") == [201]


def entry(name, job_id, cluster="slurm"):
    return Entry(cluster, f"key of {name}", job_id, "folder", "log", (name,))


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
    Journal(journal.path).compact()
    assert len(journal.path.read_text().splitlines()) == 2
    assert Journal(journal.path).open_entries() == [b, replace(c, cancelled=True)]


def job(name, inputs=(), outputs=(), command="touch", **others):
    return SimpleNamespace(
        name=name, input=inputs, output=outputs, shellcmd=command, is_group=lambda: "jobs" in others, **others
    )


def test_a_job_is_the_same_while_what_it_makes_and_how_and_the_inputs_that_it_read_are(tmp_path):
    read, between, old = (tmp_path / name for name in ("read", "between", "old"))
    read.touch()
    first = job("first", [str(read)], [str(between)])
    second = job("second", [str(between), ancient(str(old))], ["out"])
    group = job("both", jobs=[first, second])
    key, outputs = key_of(group)
    assert outputs == tuple(sorted(["out", str(between)]))
    between.touch()  # its own first part did that
    old.touch()
    assert key_of(job("both", jobs=[second, first])) == (key, outputs)
    assert key_of(job("both", jobs=[job("first", [str(read)], [str(between)], "touch -c"), second]))[0] != key
    os.utime(read, (1, 1))
    assert key_of(group)[0] != key
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".snakemake_timestamp").touch()
    reader = job("reader", [str(tmp_path / "folder")], ["out"])
    key = key_of(reader)
    (tmp_path / "folder" / "index").touch()  # what reads it may leave something there
    os.utime(tmp_path / "folder", (1, 1))
    assert key_of(reader) == key
    os.utime(tmp_path / "folder" / ".snakemake_timestamp", (1, 1))
    assert key_of(reader) != key
    # So that an earlier run's is met, but not what does something else.
    assert key_of(job("upload", [str(read)]))[1] == ("upload: touch",)


def test_a_number_that_comes_again_is_another_job(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    first, again = entry("a", "4711", "local"), entry("b", "4711", "local")
    journal.note("submitted", [first])
    journal.note("ended", [first])
    journal.note("submitted", [again])
    assert journal.open_entries() == [again]


def test_jobs_of_two_clusters_with_the_same_number_are_two_jobs(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    here, there = entry("a", "1"), replace(entry("b", "1"), where="other")
    journal.note("submitted", [here, there])
    journal.note("ended", [here])
    assert journal.open_entries() == [there] and there.name == "1@other"


def test_old_logs_and_submissions_go_but_for_those_of_jobs_that_may_run(tmp_path):
    paths = [tmp_path / "logs/work/k=1" / name for name in ("1.0.log", "2.0.log")]
    paths += [tmp_path / "jobs/run" / name / "submission.sh" for name in ("old", "open", "young")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    paths.append(tmp_path / "jobs" / "a run on this machine" / "4711_0_log.out")
    paths[-1].parent.mkdir()
    paths[-1].touch()
    for path in paths[0], paths[2], paths[2].parent, paths[3], paths[3].parent, paths[3].parents[1], *paths[5:]:
        os.utime(path, (0, 0))
    os.utime(paths[-1].parent, (0, 0))
    tidy.remove_old(tmp_path, 30, {str(paths[3].parent)})
    assert [path.exists() for path in paths] == [False, True, False, True, True, False]


def on_the_node(place, program):
    """Run `program`, which calls `inner.main`, as a job does; return the words that it printed."""
    command = [sys.executable, "-c", program, "-m", "snakemake", "made", "--cores", "1", "--mode", "remote"]
    done = subprocess.run(
        command, cwd=place, env=os.environ | {"PYTHONPATH": str(PLUGIN)}, capture_output=True, text=True
    )
    assert (place / "made").exists() and not done.returncode, done.stderr
    return done.stdout.split()


def test_the_snakemake_on_the_node_ends_with_its_job_and_imports_neither_reports_nor_a_database(tmp_path):
    (tmp_path / "Snakefile").write_text("rule work:\n    output: 'made'\n    shell: 'touch {output}'\n")
    program = (
        "import sys, threading\nfrom snakemake_executor_plugin_submitit import inner\n"
        "try:\n    inner.main()\nexcept SystemExit as end:\n"
        "    print(end, threading.active_count(), *{'snakemake.report', 'sqlalchemy', 'pydantic'} & set(sys.modules))"
    )
    assert on_the_node(tmp_path, program) == ["0", "1"]


def test_a_workflow_on_the_node_has_the_real_sqlalchemy(tmp_path):
    pytest.importorskip("sqlmodel")  # the oldest Snakemake does without
    (tmp_path / "Snakefile").write_text(
        "import sqlalchemy, sqlmodel\nrule work:\n    output: 'made'\n"
        "    run: open(output[0], 'w').write(sqlalchemy.__version__ + sqlmodel.__version__)\n"
    )
    on_the_node(tmp_path, "from snakemake_executor_plugin_submitit import inner; inner.main()")
