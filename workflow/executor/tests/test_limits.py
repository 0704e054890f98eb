"""Jobs that SLURM stops at their time limit, holds, or would never start."""

from heads import ended, start_requeued_now


def test_a_job_at_its_time_limit_saves_and_goes_on_as_often_as_it_may(cluster, project):
    head = project(
        """
rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=2
    shell: "if [ -e saved ]; then touch {output}; exit; fi; trap 'touch saved; exit 1' TERM; sleep 200 & wait"

rule never:
    output: "never.txt"
    resources: mem_mb=300, runtime=1
    shell: "sleep 200"
"""
    )
    # SLURM may send the signal 60 s early: at 2 minutes less 30 s, still not before the job is well under way.
    process = head.start("out.txt", "--nolock", "--submitit-signal-seconds", "30")
    never = head.start("never.txt", "--nolock", "--submitit-signal-seconds", "50", "--submitit-max-timeouts", "0")
    cluster.wait_for((head.place / "saved").exists, 240)
    cluster.wait_for(lambda: "PENDING" in cluster.run("squeue", "-h", "--name=work", "-o", "%T"))
    start_requeued_now(cluster)
    status, said = ended(process)
    assert status == 0, said
    status, said = ended(never)
    assert status != 0 and ": TIMEOUT" in said


def test_holds_are_told_and_what_can_never_start_fails_with_the_reason(cluster, project):
    head = project(
        """
rule all:
    input: "out.txt", "never.txt"

rule never:
    output: "never.txt"
    resources: mem_mb=300, runtime=5, slurm_extra="--dependency=afterok:" + open("failed").read()
    shell: "touch {output}"

rule work:
    output: "out.txt"
    resources: mem_mb=300, runtime=5, slurm_extra="-H"
    shell: "echo start >> started; until [ -e go ]; do sleep .2; done; touch {output}"
"""
    )
    failed = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap", "exit 1").strip()
    (head.place / "failed").write_text(failed)
    cluster.wait_for(lambda: "FAILED" in cluster.run("squeue", "-h", "--states=all", f"--jobs={failed}", "-o", "%T"))
    with (head.place / "said").open("w") as file:
        process = head.start("--keep-going", stderr=file)

    def said(times: int) -> bool:
        return (head.place / "said").read_text().count("SLURM holds") == times

    def job() -> str:
        return cluster.run("squeue", "-h", "--name=work", "-o", "%i").strip()

    cluster.wait_for(lambda: said(1))
    cluster.run("scontrol", "release", job())
    cluster.wait_for((head.place / "started").exists)
    cluster.run("scontrol", "requeuehold", job())
    cluster.wait_for(lambda: said(2))
    (head.place / "go").touch()
    cluster.run("scontrol", "release", job())
    start_requeued_now(cluster)
    assert ended(process)[0] != 0
    told = (head.place / "said").read_text()
    assert "HOPELESS: DependencyNeverSatisfied" in told and (head.place / "out.txt").exists(), told
    assert told.count("JobHeldUser") == 1 and (head.place / "started").read_text().split() == ["start"] * 2


def test_a_limit_that_is_reached_now_is_waited_for_and_one_reached_for_ever_fails_with_its_name(cluster, project):
    limits = {
        "few": ["MaxSubmitJobsPerUser=2"],
        "narrow": ["MaxTRESPerJob=cpu=1"],
        "strict": ["MaxTRESPerJob=cpu=1", "Flags=DenyOnLimit"],
    }
    for name, limit in limits.items():
        cluster.run("sacctmgr", "-i", "add", "qos", name, *limit)
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", f"qos+={','.join(limits)}")
    head = project(
        """
rule all:
    input: expand("few-{k}", k=range(3)), "narrow", "strict"

rule work:
    output: "few-{k}"
    resources: mem_mb=300, runtime=5, slurm_qos="few"
    shell: "echo {wildcards.k} >> tries; touch {output}"

rule wide:
    output: "{qos}"
    wildcard_constraints: qos="narrow|strict"
    threads: 2
    resources: mem_mb=300, runtime=5, slurm_qos=lambda wildcards: wildcards.qos
    shell: "touch {output}"
"""
    )
    status, said = head.run("--keep-going", "--cores", "8")
    assert status != 0 and sorted((head.place / "tries").read_text().split()) == list("012"), said
    assert "does not take it now" in said and "QOSMaxSubmitJobPerUserLimit" in said
    assert "HOPELESS: QOSMaxCpuPerJobLimit" in said  # SLURM takes it and would let it wait
    assert "SLURM did not take it: sbatch: error: QOSMaxCpuPerJobLimit" in said
