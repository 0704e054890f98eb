"""What sbatch says, and what SLURM has: an answer that is late, lost, or hidden in a site's own words."""

import shutil
import signal

RULES = """
rule all:
    input: expand("{k}.txt", k=range(%d))

rule work:
    output: "{k}.txt"
    resources: mem_mb=300, runtime=lambda wildcards: 5 + int(wildcards.k)
    shell: "echo {wildcards.k} >> tries; touch {output}"
"""
SAYS = "echo 'error: Socket timed out on send/recv operation' >&2; exit 1"
SITES = [
    'echo "You have used 30 of 500 hours"; {real} "$@"',
    '{real} "$@" > /dev/null',
    '{real} "$@" > /dev/null; echo "You have used 30 of 500 hours"',
    'cp "${{@: -1}}" $0.copy; set -- "${{@:1:$#-1}}" $0.copy; {real} "$@" > /dev/null',  # squeue shows another script
    '{real} "$@" > /dev/null; ' + SAYS,
    # The same, but the controller answers neither: it is asked again before anything is sent again.
    '{real} "$@" > /dev/null; touch $0.busy; ' + SAYS,
]


def test_a_job_that_slurm_has_taken_is_found_and_not_sent_twice(cluster, project, tmp_path):
    head = project(RULES % len(SITES))  # each wants another runtime, and so is submitted by itself
    sbatch, squeue = tmp_path / "bin" / "sbatch", tmp_path / "bin" / "squeue"
    sbatch.parent.mkdir()
    cases = [f"{n}) {text.format(real=shutil.which('sbatch'))} ;;" for n, text in enumerate(SITES, 1)]
    counts = "echo x >> $0.calls\ncase $(wc -l < $0.calls) in"
    sbatch.write_text("\n".join(["#!/bin/bash", counts, *cases, "esac\n"]))
    real = shutil.which("squeue")
    squeue.write_text(f'#!/bin/bash\nrm {sbatch}.busy 2>/dev/null && exit 1\nexec {real} "$@"\n')
    for program in (sbatch, squeue):
        program.chmod(0o755)
    status, said = head.run(PATH=f"{sbatch.parent}:{cluster.environment['PATH']}")
    assert status == 0, said
    assert len((tmp_path / "bin" / "sbatch.calls").read_text().split()) == len(SITES)
    assert sorted((head.place / "tries").read_text().split()) == [str(k) for k in range(len(SITES))]


def test_a_job_that_a_head_sent_with_its_last_breath_does_not_run_beside_the_next_ones(cluster, project, tmp_path):
    head = project(RULES % 1)
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/bash\n{shutil.which("sbatch")} "$@"\nmv $0 $0.done\nkill -9 $PPID\n')
    sbatch.chmod(0o755)
    path = f"{sbatch.parent}:{cluster.environment['PATH']}"
    status, _ = head.run(PATH=path)
    assert status == -signal.SIGKILL
    cluster.wait_for(lambda: "RUNNING" in cluster.run("squeue", "-h", "--name=work:k=0", "-o", "%T"))
    head.unlock()
    status, said = head.run("--rerun-incomplete", PATH=path)
    assert status == 0, said
    assert (head.place / "tries").read_text().split() == ["0"]
    # It waits for its pickle, a minute, and ends.
    assert cluster.run("squeue", "-h", "--name=work:k=0", "-o", "%T").split() in (["RUNNING"], [])
