"""`snakemake --executor submitit` on a private SLURM: what is submitted, how it is told, what a person ends."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT, copy_project
from tests.slurm.conftest import command, environment, run, start, write_program
from tests.workflow.test_digits import write_config


def test_trivial_jobs_arrive_as_one_array_and_leave_no_pickles(cluster, project):
    folder = project(
        """
rule all:
    input: expand("out/{k}.txt", k=range(30))

rule work:
    output: "out/{k}.txt"
    resources: mem_mb=300, runtime=3
    shell: "echo {wildcards.k} > {output}"
"""
    )
    done = run(cluster, folder, "--submitit-efficiency", "efficiency.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "out").iterdir())) == 30
    table = (folder / "efficiency.csv").read_text().splitlines()
    assert len(table) == 2 and table[1].startswith("work,30,0,30,0.")
    (sent,) = folder.glob(".snakemake/submitit/jobs/*/*_submission.sh")  # one sbatch
    assert "--array=0-29%30" in sent.read_text()
    logs = list(folder.glob(".snakemake/submitit/logs/work/k=7/*.0.log"))
    assert len(logs) == 1 and "attempt 0" in logs[0].read_text()
    left = [p.name for p in folder.glob(".snakemake/submitit/jobs/*/*") if "_submission" not in p.name]
    assert not [name for name in left if name.endswith((".pkl", ".exit", ".out"))]


def test_what_a_job_asks_for_reaches_slurm(cluster, project):
    folder = project(
        """
rule work:
    output: "it's {k} \\"out.txt"
    threads: 2
    resources: mem_mb=700, runtime=7, gpu=1, slurm_extra="--comment=hello"
    shell: "scontrol show job $SLURM_JOB_ID > {output:q}; env >> {output:q}"
"""
    )
    done = run(cluster, folder, "it's a b \"out.txt")
    assert done.returncode == 0, done.stdout + done.stderr
    said = (folder / "it's a b \"out.txt").read_text()
    for fact in (
        "TimeLimit=00:07:00",
        "MinMemoryNode=700M",
        "NumCPUs=2",
        "gpu:1",
        "Comment=hello",
        "JobName=work:k=a_b\n",
    ):
        assert fact in said
    assert "CUDA_VISIBLE_DEVICES=" in said and "SUBMITIT_" not in said


def test_150_jobs_arrive_as_arrays_no_larger_than_the_cluster_takes_and_ctrl_c_leaves_none(cluster, project):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(150))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch {output}"
"""
    )

    def queued() -> int:
        return len(cluster.run("squeue", "-h", "--array", "--name=work:k=*", "-o", "%i").split())

    cluster.run("scontrol", "update", "partitionname=main", "state=down")  # jobs are taken, none starts
    try:
        process = subprocess.Popen(command(), cwd=folder, env=environment(cluster), stderr=subprocess.DEVNULL)
        cluster.wait_for(lambda: queued() == 150, 60)
        arrays = [path.read_text() for path in folder.glob(".snakemake/submitit/jobs/*/*_submission.sh")]
        assert sorted(re.search("--array=(.*)", text)[1] for text in arrays) == ["0-38%39", "0-49%50", "0-60%61"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
        cluster.wait_for(lambda: queued() == 0)
    finally:
        cluster.run("scancel", "--user=root")
        cluster.run("scontrol", "update", "partitionname=main", "state=up")


def test_ctrl_c_during_a_submission_leaves_no_job(cluster, project, tmp_path):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "sleep 100; touch {output}"
"""
    )
    slow = write_program(tmp_path / "bin" / "sbatch", "touch $0.called; sleep 4")
    env = environment(cluster) | {"PATH": f"{slow.parent}:{cluster.environment['PATH']}"}
    process = subprocess.Popen(
        command("out.txt"), cwd=folder, env=env, stderr=subprocess.DEVNULL, start_new_session=True
    )
    cluster.wait_for((tmp_path / "bin" / "sbatch.called").exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: sbatch gets it too
    assert process.wait(60) != 0
    assert list(folder.glob(".snakemake/submitit/jobs/*/*_submission.sh"))  # it had been taken
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--name=work", "-o", "%T"), 40)


def test_a_failed_job_says_why_and_harms_no_other(cluster, project):
    rule = """
rule {0}:
    output: "{0}.txt"
    resources: {1}
    shell: "{2}"
"""
    good = "sleep 3; touch {output}"
    rules = {
        "good": ("mem_mb=300", good),
        "bad": ("mem_mb=300", "echo the reason of it; exit 7"),
        "hungry": ("mem_mb=200", "python3 -c 'b = bytearray(500 * 2**20); import time; time.sleep(60)'"),
        "nowhere": ("slurm_partition='nowhere'", good),
        "nobody": ("slurm_account='nobody'", good),
        "vast": ("mem_mb=99999999", good),
        "wide": ("mem_mb=300, nodes=50", good),
        "wrong": ("mem_mb=-5", good),
    }
    everything = "rule all:\n    input: " + ", ".join(f"'{name}.txt'" for name in rules) + "\n"
    folder = project(everything + "".join(rule.format(name, *parts) for name, parts in rules.items()))
    done = run(cluster, folder, "--keep-going")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and [path.name for path in folder.glob("*.txt")] == ["good.txt"]
    assert "FAILED, exit status" in said and "the reason of it" in said and "logs/bad/" in said
    assert "OUT_OF_MEMORY" in said and "of 200M" in said
    assert "SLURM did not take it" in said and "invalid partition" in said.lower()
    assert "Invalid account" in said and "Memory specification can not be satisfied" in said
    assert "HOPELESS: Partition" in said
    assert "mem_mb=-5: must be a whole number, at least 1" in said
    assert not cluster.run("squeue", "-h", "-o", "%i")
    # Snakemake reads a runtime when it plans: nothing begins.
    folder = project(rule.format("good", "runtime='soon'", good))
    done = run(cluster, folder, "good.txt", "--forceall")
    assert done.returncode != 0 and "'runtime' with value 'soon'" in done.stderr


def test_ctrl_c_cancels_what_was_submitted_and_nothing_else(cluster, project):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(5))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "sleep 100; touch {output}"
"""
    )
    other = cluster.run("sbatch", "--output=/dev/null", "--job-name=other", "--wrap", "sleep 30").split()[-1]
    process = subprocess.Popen(command(), cwd=folder, env=environment(cluster), stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: "RUNNING" in cluster.run("squeue", "-h", "--name=work:k=*", "-o", "%T"), 60)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--name=work:k=*", "-o", "%T"), 40)
    assert cluster.run("squeue", "-h", "--name=other", "-o", "%T").strip() == "RUNNING"
    cluster.run("scancel", other)


def test_a_job_cancelled_from_outside_is_named_so(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "sleep 100"
"""
    )
    process = start(cluster, folder)
    cluster.wait_for(lambda: "RUNNING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"), 60)
    cluster.run("scancel", "--name=work")
    _, said = process.communicate(timeout=90)
    assert process.returncode != 0 and ": CANCELLED" in said


def test_grouped_jobs_share_a_slurm_job(cluster, project):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(6))

rule work:
    output: "{k}.txt"
    group: "bundle"
    resources: mem_mb=200, runtime=5
    shell: "echo $SLURM_JOB_ID > {output}"
"""
    )
    done = run(cluster, folder, "--group-components", "bundle=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len({path.read_text() for path in folder.glob("*.txt")}) == 2
    assert len(list(folder.glob(".snakemake/submitit/logs/bundle_work/k=*+2/*.log"))) == 2


def test_a_head_that_was_killed_is_followed_by_one_that_attaches(cluster, project):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(3))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "echo start >> attempts-{wildcards.k}; sleep $((2 + 10 * {wildcards.k})); touch {output}"
"""
    )
    process = subprocess.Popen(command(), cwd=folder, env=environment(cluster), stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: len(list(folder.glob("attempts-*"))) == 3, 60)
    process.kill()
    process.wait()
    refused = run(cluster, folder)
    assert refused.returncode != 0 and "--unlock" in refused.stdout + refused.stderr
    assert run(cluster, folder, "--unlock").returncode == 0
    cluster.wait_for((folder / "0.txt").exists)  # it ends while nobody watches
    time.sleep(3)
    done = run(cluster, folder, "--rerun-incomplete")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and 1 <= said.count("of an earlier run makes work") <= 2, said
    assert [p.read_text() for p in folder.glob("attempts-*")] == ["start\n"] * 3


def test_an_sbatch_that_fails_for_now_is_tried_again(cluster, project, tmp_path):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(4))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch {output}"
"""
    )
    complaints = ["Socket timed out on send/recv operation", "Job violates accounting/QOS policy (job submit limit)"]
    refusals = [f"[ $n = {k + 1} ] && {{ echo 'error: {said}' >&2; exit 1; }}" for k, said in enumerate(complaints)]
    count = "echo x >> $0.calls; n=$(wc -l < $0.calls)"
    fake = write_program(tmp_path / "bin" / "sbatch", "\n".join([count, *refusals]))
    env = environment(cluster) | {"PATH": f"{fake.parent}:{cluster.environment['PATH']}"}
    done = subprocess.run(command(), cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    # Refused whole, refused whole, taken in two halves.
    assert len((tmp_path / "bin" / "sbatch.calls").read_text().split()) == 4


def test_the_profile_runs_the_tiny_experiment(cluster, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "slurm", project / "slurm")
    write_config(project)
    targets = ["results/tiny/montage/class=3.png", "results/tiny/certified_accuracy.png"]
    words = ["--profile", "slurm", "--submitit-poll-seconds", "1", "--set-scatter", "certify=2"]
    env = cluster.environment | {"PYTHONPATH": str(ROOT / "workflow" / "executor")}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words, "--", *targets],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((project / target).is_file() for target in targets)
    assert len(list(project.glob("results/tiny/certify/*/*/?-of-2.tsv"))) == 2
    # Two ascents for the montage, one after the other in one SLURM job with one GPU.
    logs = list(project.glob(".snakemake/submitit/logs/ascents_tiny_ascend/*+1/*.log"))
    assert len(logs) == 1 and logs[0].read_text().count("Finished jobid") == 2
    (script,) = (text for text in map(Path.read_text, project.glob("**/*_submission.sh")) if "ascents" in text)
    assert "--gpus-per-node=1" in script and "--time=20" in script and "--mem=6000M" in script
