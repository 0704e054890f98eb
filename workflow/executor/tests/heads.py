"""Snakemake with this executor, started as a user does."""

import subprocess
import sys
import time
from pathlib import Path

from forked import snakemake
from private_slurm import PrivateSlurm

PLUGIN = Path(__file__).parents[1]


class Head:
    """Snakemake with this executor in a folder of its own, `place`, started as a user does."""

    def __init__(self, place: Path, environment: dict[str, str], *words: str):
        self.place, self.environment = place, environment | {"PYTHONPATH": str(PLUGIN)}
        self.words = ["--executor", "submitit", "--latency-wait", "5", *words]

    def start(self, *words: str, **changes) -> subprocess.Popen:
        """Start a head; `changes` to Popen, and environment variables in capitals."""
        env = self.environment | {name: changes.pop(name) for name in list(changes) if name.isupper()}
        command = [sys.executable, "-m", "snakemake", *self.words, *words]
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=self.place, env=env, **pipes | changes)

    def run(self, *words: str, **variables: str) -> tuple[int, str]:
        """Return a head's exit status and all that it printed; some environment variables may be changed for it."""
        done = snakemake(self.place, *self.words, *words, **self.environment | variables)
        return done.returncode, done.stdout + done.stderr

    def unlock(self) -> None:
        """Do what ``--unlock`` does, sooner."""
        for lock in (self.place / ".snakemake" / "locks").iterdir():
            lock.unlink()


def ended(head: subprocess.Popen, seconds: float = 240) -> tuple[int, str]:
    """Wait for a head; return its exit status and what it said."""
    try:
        said, complained = head.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        head.kill()
        raise
    return head.returncode, (said or "") + (complained or "")


def start_requeued_now(cluster: PrivateSlurm) -> None:
    """Start the requeued job, for which SLURM waits two minutes; not in the same second, when it would refuse it."""
    time.sleep(3)
    job = cluster.run("squeue", "-h", "--name=work", "-o", "%i").strip()
    cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now")
