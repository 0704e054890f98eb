"""The simulated makespan, beside closed forms."""

import runpy
import subprocess
import sys

import pytest

from tests.conftest import ROOT, copy_project
from tests.workflow.test_digits import write_config

MAKESPAN = runpy.run_path(str(ROOT / "workflow" / "makespan.py"))
Job, simulate, bundled = (MAKESPAN[name] for name in ("Job", "simulate", "bundled"))


@pytest.mark.parametrize("gpus", [1, 3, 8, 64])
def test_equal_jobs_come_in_waves(gpus):
    jobs = {0: Job("fetch", 0.0)} | {k: Job("ascend", 5.0, {0}) for k in range(1, 21)}
    makespan, busy, _ = simulate(jobs, gpus, start=2.0)
    waves = -(-20 // gpus)
    assert makespan == pytest.approx(waves * 7)
    assert busy == pytest.approx(20 / (waves * gpus))


def test_no_number_of_gpus_beats_the_longest_chain_and_it_is_named():
    jobs = {
        1: Job("train a", 100.0),
        2: Job("train b", 10.0),
        3: Job("ascend a", 5.0, {1}),
        4: Job("ascend b", 50.0, {2}),
        5: Job("montage", 0.0, {3, 4}),
    }
    makespan, _, chain = simulate(jobs, 512, start=1.0)
    assert makespan == 101 + 6 and chain == ["train a 100 s", "ascend a 5 s"]
    assert simulate(jobs, 1, start=0.0)[0] == 165


def test_a_bundle_costs_one_start_and_waits_for_all_that_its_jobs_wait_for():
    jobs = {0: ("train", "a"), 1: ("train", "b"), **dict.fromkeys(range(2, 9), ("ascend", "a"))}
    needs = {0: set(), 1: set(), **{k: {k % 2} for k in range(2, 9)}}
    times = {("train", ""): 3.0, ("ascend", "a"): 2.0}
    made = bundled(jobs, needs, times, {"ascend": 3}, {})
    assert sorted(job.seconds for job in made.values()) == [2.0, 3.0, 3.0, 6.0, 6.0]
    assert [made[k].needs for k in (2, 5, 8)] == [{0, 1}, {0, 1}, {0}]


def test_a_wide_job_waits_for_all_its_gpus():
    jobs = {k: Job("ascend", 4.0) for k in range(3)} | {3: Job("train", 10.0, gpus=4)}
    # Two GPUs: 0 and 1 at once, then 2 alone, then the wide one, which gets the two that there are.
    assert simulate(jobs, 2, start=0.0)[0] == 4 + 4 + 10
    assert simulate(jobs, 4, start=0.0)[0] == 4 + 10
    assert simulate(jobs, 7, start=0.0)[0] == 10


def test_it_reads_a_plan_and_benchmark_files(tmp_path):
    project = copy_project(tmp_path)
    write_config(project)
    command = [sys.executable, "workflow/makespan.py", "tiny", "--bundle", "ascend=1", "--start", "0"]
    refused = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert refused.returncode == 1 and "no benchmark file (.tsv) below results/tiny/benchmarks" in refused.stderr
    for rule, model, seconds in (
        ("train", "standard", 60),
        ("train", "gaussian-0.25", 120),
        ("train", "judge", 30),
        ("ascend", "standard", 10),
    ):
        path = project / "results" / "tiny" / "benchmarks" / rule / f"{model}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\n{seconds}\t0\n")
    done = subprocess.run([*command, "--gpus", "1", "100"], cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Three trainings, two classes from each model; then the longest chain.
    assert "8 submissions that take a GPU, 5.33 min of work" in done.stdout
    assert "2.17 min" in done.stdout.splitlines()[-1]
    assert "train gaussian-0.25 2 min, ascend gaussian-0.25 10 s" in done.stdout.splitlines()[-1]
