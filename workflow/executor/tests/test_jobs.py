"""`snakemake --executor submitit` on a private SLURM: what is submitted, how it is told, what a person ends."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

from heads import ended

DEAF = {"stderr": subprocess.DEVNULL}


def write_program(path: Path, before: str) -> Path:
    """Write a program that does something and then what the SLURM command of its name does."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/bash\n{before}\nexec {shutil.which(path.name)} "$@"\n')
    path.chmod(0o755)
    return path


def test_trivial_jobs_arrive_as_one_array_and_leave_no_pickles(cluster, project):
    head = project(
        """
rule all:
    input: expand("out/{k}.txt", k=range(12))

rule work:
    output: "out/{k}.txt"
    resources: mem_mb=300, runtime=3
    shell: "echo {wildcards.k} > {output}"
"""
    )
    status, said = head.run("--submitit-efficiency", "efficiency.csv")
    assert status == 0, said
    assert len(list((head.place / "out").iterdir())) == 12
    table = (head.place / "efficiency.csv").read_text().splitlines()
    assert len(table) == 2 and table[1].startswith("work,12,0,12,0.")
    (sent,) = head.place.glob(".snakemake/submitit/jobs/*/*/submission.sh")  # one sbatch
    assert "--array=0-11%12" in sent.read_text()
    logs = list(head.place.glob(".snakemake/submitit/logs/work/k=7/*.0.log"))
    assert len(logs) == 1 and "attempt 0" in logs[0].read_text()
    left = [p.name for p in head.place.glob(".snakemake/submitit/jobs/*/*/*") if p.name != "submission.sh"]
    assert left == []


def test_what_a_job_asks_for_reaches_slurm(cluster, project):
    head = project(
        """
envvars: "TOKEN"

rule work:
    output: "it's {k} \\"out.txt"
    threads: 2
    resources: mem_mb=700, runtime=7, gpu=1, slurm_extra="--comment=hello"
    shell: "scontrol show job $SLURM_JOB_ID > {output:q}; env >> {output:q}"
"""
    )
    status, said = head.run("it's a b \"out.txt", SBATCH_PARTITION="urgent", TOKEN="it's $HOME")
    assert status == 0, said
    facts = (head.place / "it's a b \"out.txt").read_text()
    for fact in (
        "TimeLimit=00:07:00",
        "MinMemoryNode=700M",
        "NumCPUs=2",
        "gpu:1",
        "Comment=hello",
        "Partition=urgent",
        "JobName=work:k=a_b\n",
    ):
        assert fact in facts
    assert "CUDA_VISIBLE_DEVICES=" in facts and "SUBMITIT_" not in facts and "TOKEN=it's $HOME\n" in facts
    assert "$HOME" not in "".join(p.read_text() for p in head.place.glob(".snakemake/submitit/logs/**/*.log"))


def test_150_jobs_arrive_as_arrays_no_larger_than_the_cluster_takes_and_ctrl_c_leaves_none(cluster, project):
    head = project(
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
        process = head.start(**DEAF)
        cluster.wait_for(lambda: queued() == 150)
        arrays = [path.read_text() for path in head.place.glob(".snakemake/submitit/jobs/*/*/submission.sh")]
        assert sorted(re.search("--array=(.*)", text)[1] for text in arrays) == ["0-38%39", "0-49%50", "0-60%61"]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) != 0
        cluster.wait_for(lambda: queued() == 0)
    finally:
        cluster.run("scancel", "--user=root")
        cluster.run("scontrol", "update", "partitionname=main", "state=up")


def test_ctrl_c_during_a_submission_leaves_no_job(cluster, project, tmp_path):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "sleep 100; touch {output}"
"""
    )
    slow = write_program(tmp_path / "bin" / "sbatch", "touch $0.called; sleep 4")
    path = f"{slow.parent}:{cluster.environment['PATH']}"
    process = head.start("out.txt", PATH=path, start_new_session=True, **DEAF)
    cluster.wait_for((tmp_path / "bin" / "sbatch.called").exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: sbatch gets it too
    assert process.wait(60) != 0
    assert list(head.place.glob(".snakemake/submitit/jobs/*/*/submission.sh"))  # it had been taken
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--name=work", "-o", "%T"))


def test_a_cancel_that_slurm_did_not_hear_is_repeated(cluster, project, tmp_path):
    rule = """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "until [ -e %s ]; do sleep .2; done; touch {output}"
"""
    head = project(rule % "never")
    first = head.start("out.txt", **DEAF)
    cluster.wait_for(lambda: "RUNNING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"))
    first.kill()
    first.wait()
    head.unlock()
    (head.place / "Snakefile").write_text(rule % "Snakefile")  # another command, so the first one's job has to go
    fails = write_program(tmp_path / "bin" / "scancel", "[ -e $0.called ] || { touch $0.called; exit 1; }")
    status, said = head.run("--rerun-incomplete", PATH=f"{fails.parent}:{cluster.environment['PATH']}")
    assert status == 0 and said.count("could not cancel") == 1, said


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
        "bad": ("mem_mb=300", "printf 'the %s of it\\\\n' reason; exit 7"),  # not to be found in the command itself
        "hungry": ("mem_mb=200", "python3 -c 'b = bytearray(500 * 2**20); import time; time.sleep(60)'"),
        "nowhere": ("slurm_partition='nowhere'", good),
        "nobody": ("slurm_account='nobody'", good),
        "vast": ("mem_mb=99999999", good),
        "wide": ("mem_mb=300, nodes=50", good),
        "unwanted": ("mem_mb=300", "sleep 100"),
    }
    everything = "rule all:\n    input: " + ", ".join(f"'{name}.txt'" for name in rules) + "\n"
    head = project(everything + "".join(rule.format(name, *parts) for name, parts in rules.items()))
    process = head.start("--keep-going")
    cluster.wait_for(lambda: "RUNNING" in cluster.run("squeue", "-h", "--name=unwanted", "-o", "%T"))
    cluster.run("scancel", "--name=unwanted")
    status, said = ended(process)
    assert status != 0 and ": CANCELLED" in said and [path.name for path in head.place.glob("*.txt")] == ["good.txt"]
    assert "FAILED, exit status" in said and "the reason of it" in said and "logs/bad/" in said
    assert "OUT_OF_MEMORY" in said and "exceeded memory limit" in said
    assert "SLURM did not take it" in said and "invalid partition" in said.lower()
    assert "Invalid account" in said and "Memory specification can not be satisfied" in said
    assert "HOPELESS: Partition" in said
    assert not cluster.run("squeue", "-h", "-o", "%i")
    # What can be told when planning is: nothing begins.
    head = project(everything + "".join(rule.format(name, "mem_mb=300", good) for name in rules))
    head.place.joinpath("good.txt").unlink()
    status, said = head.run("--set-resources", "hungry:gpu_model=a100", "bad:slurm_partion=main")
    assert status != 0 and "rule hungry: gpu_model=a100 without gpu: say how many" in said
    assert "rule bad: slurm_partion=main: unknown; is slurm_partition meant?" in said
    assert not list(head.place.glob("*.txt"))
    # Snakemake itself reads a runtime when it plans.
    head = project(rule.format("good", "runtime='soon'", good))
    status, said = head.run("good.txt", "--forceall")
    assert status != 0 and "'runtime' with value 'soon'" in said


def test_grouped_jobs_share_a_slurm_job(cluster, project):
    head = project(
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
    status, said = head.run("--group-components", "bundle=3")
    assert status == 0, said
    assert len({path.read_text() for path in head.place.glob("*.txt")}) == 2
    assert len(list(head.place.glob(".snakemake/submitit/logs/bundle_work/k=*+2/*.log"))) == 2


def test_a_head_that_was_killed_is_followed_by_one_that_attaches(cluster, project):
    head = project(
        """
rule all:
    input: expand("{k}.txt", k=range(3))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell:
        "echo start >> attempts-{wildcards.k};"
        " until [ {wildcards.k} = 0 ] || [ -e go ]; do sleep .2; done; touch {output}"
"""
    )
    process = head.start(**DEAF)
    cluster.wait_for(lambda: len(list(head.place.glob("attempts-*"))) == 3)
    process.kill()
    process.wait()
    assert head.run("--unlock")[0] == 0
    cluster.wait_for((head.place / "0.txt").exists)  # it ends while nobody watches
    cluster.wait_for(lambda: len(cluster.run("squeue", "-h", "--name=work:k=*", "-o", "%i").split()) == 2)
    said = head.place / "said"
    with said.open("w") as file:
        process = head.start("--rerun-incomplete", stderr=file)
    cluster.wait_for(lambda: said.read_text().count("of an earlier run makes work") == 2)
    (head.place / "go").touch()
    assert process.wait(60) == 0, said.read_text()
    assert [p.read_text() for p in head.place.glob("attempts-*")] == ["start\n"] * 3


def test_an_sbatch_that_fails_for_now_is_tried_again(cluster, project, tmp_path):
    head = project(
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
    status, said = head.run(PATH=f"{fake.parent}:{cluster.environment['PATH']}")
    assert status == 0, said
    # Refused whole, refused whole, taken in two halves.
    assert len((tmp_path / "bin" / "sbatch.calls").read_text().split()) == 4
