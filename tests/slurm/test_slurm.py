"""`snakemake --executor submitit` on a private SLURM."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT, copy_project
from tests.slurm.private import PrivateSlurm, why_not
from tests.workflow.test_digits import write_config

pytestmark = [
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    private = PrivateSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        private.start()
        yield private
    finally:
        private.stop()


@pytest.fixture
def project(tmp_path):
    """A folder with a Snakefile of trivial rules; `work` sleeps, appends to a file of its own, or fails, as asked."""

    def write(rules: str) -> Path:
        (tmp_path / "Snakefile").write_text(rules)
        return tmp_path

    return write


def command(*words: str) -> list[str]:
    polling = ["--submitit-poll-seconds", "1", "--submitit-lost-seconds", "20", "--latency-wait", "5"]
    return [sys.executable, "-m", "snakemake", "--executor", "submitit", "--jobs", "200", *polling, *words]


def environment(cluster: PrivateSlurm) -> dict[str, str]:
    plugin = str(ROOT / "workflow" / "executor")
    return cluster.environment | {"PYTHONPATH": os.pathsep.join([str(ROOT), plugin])}


def run(cluster: PrivateSlurm, folder: Path, *words: str, seconds: float = 150) -> subprocess.CompletedProcess:
    return subprocess.run(
        command(*words), cwd=folder, env=environment(cluster), capture_output=True, text=True, timeout=seconds
    )


def start(cluster: PrivateSlurm, folder: Path, *words: str) -> subprocess.Popen:
    return subprocess.Popen(
        command("out.txt", *words), cwd=folder, env=environment(cluster), stderr=subprocess.PIPE, text=True
    )


def start_requeued_now(cluster: PrivateSlurm) -> None:
    """Start the requeued job, for which SLURM waits two minutes; not in the same second, when it would refuse it."""
    time.sleep(3)
    job = cluster.run("squeue", "-h", "--name=work", "-o", "%i").strip()
    cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")


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
    done = run(cluster, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "out").iterdir())) == 30
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


def test_a_failed_job_says_why_and_harms_no_other(cluster, project):
    folder = project(
        """
rule all:
    input: "good.txt", "bad.txt", "greedy.txt", "wrong.txt"

rule good:
    output: "good.txt"
    resources: mem_mb=300
    shell: "sleep 3; touch {output}"

rule bad:
    output: "bad.txt"
    resources: mem_mb=300
    shell: "echo the reason of it; exit 7"

rule greedy:
    output: "greedy.txt"
    resources: slurm_partition="nowhere"
    shell: "touch {output}"

rule wrong:
    output: "wrong.txt"
    resources: mem_mb=-5
    shell: "touch {output}"
"""
    )
    done = run(cluster, folder, "--keep-going")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and (folder / "good.txt").exists()
    assert "FAILED, exit status" in said and "the reason of it" in said and "logs/bad/" in said
    assert "SLURM did not take it" in said and "invalid partition" in said.lower()
    assert "mem_mb=-5: must be a whole number, at least 1" in said


def test_a_preempted_job_runs_again_as_one_job(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5, cpus_per_task=4, nodes=2
    shell: "echo start >> attempts; if [ $(wc -l < attempts) = 1 ]; then sleep 60; fi; touch {output}"
"""
    )
    process = start(cluster, folder)
    attempts = folder / "attempts"
    cluster.wait_for(attempts.exists)
    cluster.run(
        "sbatch", "--partition=urgent", "--nodes=2", "--cpus-per-task=4", "--output=/dev/null", "--wrap", "sleep 1"
    )
    cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"), 60)
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--partition=urgent", "-o", "%i"), 60)
    start_requeued_now(cluster)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said
    assert attempts.read_text().split() == ["start", "start"]
    assert len(list(folder.glob(".snakemake/submitit/jobs/*/*_submission.sh"))) == 1
    logs = sorted(p.name for p in folder.glob(".snakemake/submitit/logs/work/*/*.log"))
    assert [name.split(".")[1] for name in logs] == ["0", "1"]


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


def test_slurmdbd_that_is_down_fails_no_job(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "sleep 6; touch {output}"
"""
    )
    cluster.kill("slurmdbd")
    try:
        done = run(cluster, folder, "out.txt")
        assert done.returncode == 0, done.stdout + done.stderr
    finally:
        cluster.daemon("slurmdbd", "slurmdbd", "-D")


def test_a_head_that_was_killed_is_followed_by_one_that_attaches(cluster, project):
    folder = project(
        """
rule all:
    input: expand("{k}.txt", k=range(3))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=5
    shell: "echo start >> attempts-{wildcards.k}; sleep 15; touch {output}"
"""
    )
    process = subprocess.Popen(command(), cwd=folder, env=environment(cluster), stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: len(list(folder.glob("attempts-*"))) == 3, 60)
    process.kill()
    process.wait()
    refused = run(cluster, folder)
    assert refused.returncode != 0 and "--unlock" in refused.stdout + refused.stderr
    assert run(cluster, folder, "--unlock").returncode == 0
    done = run(cluster, folder, "--rerun-incomplete")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and said.count("of an earlier run makes work") == 3, said
    assert [p.read_text() for p in folder.glob("attempts-*")] == ["start\n"] * 3


def test_a_job_at_its_time_limit_saves_is_requeued_and_goes_on(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=2
    shell: "if [ -e saved ]; then touch {output}; exit; fi; trap 'touch saved; exit 1' TERM; sleep 200 & wait"
"""
    )
    # SLURM may send the signal 60 s early: at 2 minutes less 30 s, still not before the job is well under way.
    process = start(cluster, folder, "--submitit-signal-seconds", "30")
    cluster.wait_for((folder / "saved").exists, 150)
    cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"), 60)
    start_requeued_now(cluster)
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said


def test_a_job_that_may_not_be_requeued_ends_as_timeout(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=1
    shell: "sleep 200"
"""
    )
    done = run(cluster, folder, "out.txt", "--submitit-signal-seconds", "50", "--submitit-max-timeouts", "0")
    assert done.returncode != 0 and ": TIMEOUT" in done.stdout + done.stderr


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
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    complaints = ["Socket timed out on send/recv operation", "Job violates accounting/QOS policy (job submit limit)"]
    fake.write_text(
        "#!/bin/bash\necho x >> $0.calls; n=$(wc -l < $0.calls)\n"
        + "".join(f"[ $n = {k + 1} ] && {{ echo 'error: {said}' >&2; exit 1; }}\n" for k, said in enumerate(complaints))
        + f'exec {shutil.which("sbatch")} "$@"\n'
    )
    fake.chmod(0o755)
    env = environment(cluster) | {"PATH": f"{fake.parent}:{cluster.environment['PATH']}"}
    done = subprocess.run(command(), cwd=folder, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    # Refused whole, refused whole, taken in two halves.
    assert len((tmp_path / "bin" / "sbatch.calls").read_text().split()) == 4


def test_slurmctld_restarted_under_way_fails_no_job(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch started; sleep 10; touch {output}"
"""
    )
    process = start(cluster, folder)
    cluster.wait_for((folder / "started").exists, 60)
    cluster.stop("slurmctld")
    time.sleep(4)
    cluster.daemon("slurmctld", "slurmctld", "-D")
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said


def test_the_profile_runs_the_tiny_experiment(cluster, tmp_path):
    project = copy_project(tmp_path / "project")
    shutil.copytree(ROOT / "slurm", project / "slurm")
    write_config(project)
    words = ["--profile", "slurm", "--submitit-poll-seconds", "1", "results/tiny/montage/class=3.png"]
    env = cluster.environment | {"PYTHONPATH": str(ROOT / "workflow" / "executor")}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *words], cwd=project, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (project / "results/tiny/montage/class=3.png").is_file()
