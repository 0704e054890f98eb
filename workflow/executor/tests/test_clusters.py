"""Two of SLURM's clusters behind one slurmdbd: their jobs have the same numbers."""

import signal
import subprocess

import pytest
from heads import ended
from private_slurm import PrivateSlurm

RULES = """
rule all:
    input: expand("{where}-{k}.txt", where=["here", "there"], k=range(2))

rule here:
    output: "here-{k}.txt"
    resources: mem_mb=300, runtime=5
    shell:
        "echo $SLURM_CLUSTER_NAME >> {output}.tries;"
        " until [ -e go ]; do sleep .2; done; echo $SLURM_CLUSTER_NAME > {output}"

use rule here as there with:
    output: "there-{k}.txt"
    resources: mem_mb=300, runtime=5, clusters="other"
"""


@pytest.fixture
def other(cluster, tmp_path):
    with PrivateSlurm(tmp_path / "other", beside=cluster) as second:
        yield second


def test_jobs_of_two_clusters_are_attached_to_ended_and_cancelled_where_they_are(cluster, other, project):
    head = project(RULES)

    def running(times: int) -> bool:
        tries = [path.read_text().split() for path in sorted(head.place.glob("*.tries"))]
        return tries == [["private"] * times] * 2 + [["other"] * times] * 2

    def queued(which: PrivateSlurm) -> list[str]:
        return sorted(which.run("squeue", "-h", "--array", "-o", "%i").split())

    first = head.start(stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: running(1), 90)
    first.kill()
    first.wait()
    head.unlock()
    with (head.place / "said").open("w") as file:
        second = head.start("--rerun-incomplete", "--submitit-efficiency", "used.csv", stderr=file)
    cluster.wait_for(lambda: (head.place / "said").read_text().count("of an earlier run makes") == 4)
    (head.place / "go").touch()
    assert ended(second)[0] == 0, (head.place / "said").read_text()
    assert running(1)  # each once
    for where, name in (("here", "private"), ("there", "other")):
        assert [(head.place / f"{where}-{k}.txt").read_text() for k in range(2)] == [f"{name}\n"] * 2
    used = [line.split(",")[:4] for line in (head.place / "used.csv").read_text().splitlines()[1:]]
    assert used == [["here", "2", "0", "2"], ["there", "2", "0", "2"]]  # rule, jobs, failed, accounted
    (head.place / "go").unlink()
    third = head.start("--forceall", stderr=subprocess.DEVNULL)
    cluster.wait_for(lambda: running(2), 90)
    lone = cluster.run("sbatch", "--output=/dev/null", "--wrap", "sleep 60", "--clusters=other", "--parsable").split(
        ";"
    )[0]
    third.send_signal(signal.SIGINT)
    assert third.wait(60) != 0
    cluster.wait_for(lambda: not queued(cluster) and queued(other) == [lone])
