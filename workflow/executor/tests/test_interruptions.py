"""What a cluster does to jobs and to itself: preemption, time limits, nodes and daemons that fail."""

import signal
import time

from heads import ended, start_requeued_now


def test_when_a_node_fails_its_jobs_run_again_as_the_same_ones_or_are_named_so(cluster, project):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "hostname >> attempts; if [ $(wc -l < attempts) = 1 ]; then sleep 60; fi; touch {output}"

rule final:
    output: "final.txt"
    resources: mem_mb=300, runtime=5, slurm_extra="--no-requeue"
    shell: "touch started; sleep 60"
"""
    )
    cluster.run("scontrol", "update", "nodename=n2", "state=drain", "reason=test")
    try:
        process = head.start("--keep-going", "out.txt", "final.txt")
        cluster.wait_for(lambda: (head.place / "attempts").exists() and (head.place / "started").exists())
        cluster.run("scontrol", "update", "nodename=n2", "state=resume")
        cluster.kill("n1")
        cluster.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")  # as after SlurmdTimeout
        cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"))
        start_requeued_now(cluster)
        status, said = ended(process)
        assert status != 0 and said.count("slurm job ") == said.count(": NODE_FAIL") == 1, said
        assert len((head.place / "attempts").read_text().split()) == 2 and (head.place / "out.txt").exists()
    finally:
        if "n1" not in cluster.processes:
            cluster.daemon("n1", "slurmd", "-D", "-N", "n1")
        for node in ("n1", "n2"):
            cluster.run("scontrol", "update", f"nodename={node}", "state=resume")


def test_a_job_that_has_ended_well_and_is_requeued_does_not_run_again(cluster, project):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "echo start >> attempts; until [ -e go ]; do sleep .2; done; touch {output}"
"""
    )
    process = head.start()
    cluster.wait_for((head.place / "attempts").exists)
    process.send_signal(signal.SIGSTOP)  # it does not see the end in time
    (head.place / "go").touch()
    job = cluster.run("squeue", "-h", "--name=work", "-o", "%i").strip()
    cluster.wait_for(lambda: "COMPLETED" in cluster.run("squeue", "-h", "--states=all", f"--jobs={job}", "-o", "%T"))
    cluster.run("scontrol", "requeue", job)
    start_requeued_now(cluster)
    process.send_signal(signal.SIGCONT)
    status, said = ended(process)
    assert status == 0, said
    assert (head.place / "attempts").read_text().split() == ["start"]


def test_a_preempted_job_runs_again_as_one_job(cluster, project):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5, cpus_per_task=4, nodes=2
    shell: "echo start >> attempts; if [ $(wc -l < attempts) = 1 ]; then sleep 60; fi; touch {output}"
"""
    )
    process = head.start("out.txt")
    attempts = head.place / "attempts"
    cluster.wait_for(attempts.exists)
    cluster.run(
        "sbatch", "--partition=urgent", "--nodes=2", "--cpus-per-task=4", "--output=/dev/null", "--wrap", "sleep 1"
    )
    cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"))
    cluster.wait_for(lambda: not cluster.run("squeue", "-h", "--partition=urgent", "-o", "%i"))
    start_requeued_now(cluster)
    status, said = ended(process)
    assert status == 0, said
    assert attempts.read_text().split() == ["start", "start"]
    assert len(list(head.place.glob(".snakemake/submitit/jobs/*/*/submission.sh"))) == 1
    logs = sorted(p.name for p in head.place.glob(".snakemake/submitit/logs/work/*/*.log"))
    assert [name.split(".")[1] for name in logs] == ["0", "1"]


def test_slurmdbd_that_is_down_for_a_while_fails_no_job_and_memory_is_judged_without_it(cluster, project):
    head = project(
        """
rule all:
    input: "short.txt", "out.txt", "hungry.txt"

rule hungry:
    output: "hungry.txt"
    resources: mem_mb=200, runtime=5
    shell: "python3 -c 'b = bytearray(500 * 2**20); import time; time.sleep(60)' || exit 1"

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
        process = head.start("--keep-going", "out.txt", "short.txt", "hungry.txt")
        cluster.wait_for(lambda: (head.place / "started").exists() and (head.place / "short.txt").exists())
        cluster.wait_for(lambda: "hungry" not in cluster.run("squeue", "-h", "-o", "%j"))
        time.sleep(15)  # accounting would be waited for, for 10 s
    finally:
        cluster.daemon("slurmdbd", "slurmdbd", "-D")
    _, said = ended(process)
    assert "OUT_OF_MEMORY" in said and "exceeded memory limit" in said, said
    assert said.count("slurm job ") == 1 and (head.place / "out.txt").exists()


def test_slurmctld_restarted_under_way_fails_no_job(cluster, project):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5
    shell: "touch started; sleep 10; touch {output}"
"""
    )
    process = head.start("out.txt")
    cluster.wait_for((head.place / "started").exists)
    cluster.stop("slurmctld")
    time.sleep(4)
    cluster.daemon("slurmctld", "slurmctld", "-D")
    status, said = ended(process)
    assert status == 0, said
