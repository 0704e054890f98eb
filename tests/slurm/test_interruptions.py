"""What a cluster does to jobs and to itself: preemption, time limits, nodes and daemons that fail."""

import time

from tests.slurm.conftest import run, start, start_requeued_now


def test_a_job_whose_node_fails_runs_again_as_one_job(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "hostname >> attempts; if [ $(wc -l < attempts) = 1 ]; then sleep 60; fi; touch {output}"
"""
    )
    process = start(cluster, folder)
    cluster.wait_for((folder / "attempts").exists)
    node = cluster.run("squeue", "-h", "--name=work", "-o", "%N").strip()
    cluster.kill(node)
    try:
        cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")  # as after SlurmdTimeout
        cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"), 60)
        start_requeued_now(cluster)
        _, said = process.communicate(timeout=150)
        assert process.returncode == 0, said
        assert len((folder / "attempts").read_text().split()) == 2
    finally:
        cluster.daemon(node, "slurmd", "-D", "-N", node)
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")


def test_a_job_whose_node_fails_for_good_is_named_so(cluster, project):
    folder = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5, slurm_extra="--no-requeue"
    shell: "touch started; sleep 60"
"""
    )
    process = start(cluster, folder)
    cluster.wait_for((folder / "started").exists)
    node = cluster.run("squeue", "-h", "--name=work", "-o", "%N").strip()
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    try:
        _, said = process.communicate(timeout=150)
        assert process.returncode != 0 and ": NODE_FAIL" in said
    finally:
        cluster.run("scontrol", "update", f"nodename={node}", "state=resume")


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


def test_slurmdbd_that_is_down_for_a_while_fails_no_job(cluster, project):
    folder = project(
        """
rule all:
    input: "short.txt", "out.txt"

rule short:
    output: "short.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch {output}"

rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch started; sleep 12; touch {output}"
"""
    )
    cluster.kill("slurmdbd")
    try:
        process = start(cluster, folder, "short.txt")
        cluster.wait_for(lambda: (folder / "started").exists() and (folder / "short.txt").exists(), 60)
    finally:
        cluster.daemon("slurmdbd", "slurmdbd", "-D")
    _, said = process.communicate(timeout=150)
    assert process.returncode == 0, said


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
    cluster.wait_for((folder / "saved").exists, 240)
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
