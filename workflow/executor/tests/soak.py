"""Many short jobs on a private SLURM while everything goes wrong, by a seed: python soak.py [--jobs 1000] [--seed 0].

A job is requeued, preempted, its node fails and comes back, slurmctld restarts, the head is killed and followed by
another; sbatch fails (half of the times though SLURM took the job), sacct fails, squeue is slow. In the end every
output must be there, and no job may ever have run beside itself; nor again, where nothing went wrong that ends jobs.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from heads import Head
from private_slurm import PrivateSlurm, why_not
from snakemake_executor_plugin_submitit.waiting import HELD

RULES = """
rule all:
    input: expand("out/{{k}}", k=range({jobs}))

rule work:
    output: "out/{{k}}"
    resources: mem_mb=300, runtime=5
    shell:
        "exec 9> lock-{{wildcards.k}}; flock -n 9 || touch beside-itself-{{wildcards.k}};"
        " echo >> ran-{{wildcards.k}}; sleep $((({seed} + {{wildcards.k}}) % 5)); touch {{output}}"
"""
FAULTY = """#!/bin/bash
n=$(flock {folder}/count-{name} bash -c 'echo x >> {folder}/count-{name}; wc -l < {folder}/count-{name}')
RANDOM=$(({seed} * 7919 + n * 104729 + {number}))
throw=$((RANDOM % 100))
{fault}
exec {real} "$@"
"""
SAYS = "echo 'error: Socket timed out on send/recv operation' >&2; exit 1"
FAULTS = {
    "sbatch": f'[ $throw -lt 3 ] && {{ {SAYS}; }}\n[ $throw -lt 6 ] && {{ {{real}} "$@" > /dev/null; {SAYS}; }}',
    "sacct": f"[ $throw -lt 20 ] && {{ {SAYS}; }}",
    "squeue": "[ $throw -lt 30 ] && sleep 2",
}
"""What SLURM's commands do wrong, all the time."""
WEIGHTS = {"requeue": 4, "preempt": 2, "node_fails": 2, "restart": 1, "kill_head": 1}
"""What happens now and then, and how often each, among ten."""
HARMLESS = {"restart", "kill_head", *FAULTS}
"""Faults after which no job need run again."""


@dataclass
class Soak:
    """A run of `jobs` jobs in `place`, with what went wrong by `seed`, and what came of it."""

    cluster: PrivateSlurm
    place: Path
    jobs: int
    seed: int
    faults: Sequence[str] = (*WEIGHTS, *FAULTS)
    gap: float = 1
    """Times as long between two of WEIGHTS as the one to six seconds without."""
    max_running: int = 256
    happened: list[str] = field(default_factory=list)

    def run(self, seconds: float) -> dict:
        """Run until all jobs are done; return what happened. Raises TimeoutError after `seconds`."""
        self.place.mkdir(parents=True)
        (self.place / "Snakefile").write_text(RULES.format(jobs=self.jobs, seed=self.seed))
        surroundings = self.cluster.environment | {"PATH": f"{self._wrappers()}:{self.cluster.environment['PATH']}"}
        words = ["--submitit-cluster", "slurm", "--submitit-poll-seconds", "1", "--jobs", "1000", "--keep-going"]
        words += ["--submitit-max-array-size", str(max(2, self.jobs // 20))]
        words += ["--submitit-max-running", str(self.max_running)]
        head = Head(self.place, surroundings, *words, "--retries", "2", "--rerun-incomplete", "--quiet", "rules")
        victims, schedule, began = random.Random(f"victims {self.seed}"), self.schedule(), time.monotonic()
        with (self.place / "said").open("w") as said:
            self.process, heads = head.start(stderr=said), 1
            due = began + 8 * self.gap
            while self.process.poll() != 0:
                if time.monotonic() - began > seconds:
                    self.process.kill()
                    queue = self.cluster.run("squeue", "--array", "-o", "%i %T %r")
                    raise TimeoutError(f"{queue}\n{(self.place / 'said').read_text()[-3000:]}")
                if self.process.poll() is not None:  # killed by us, or with failed jobs
                    head.unlock()
                    self.process, heads = head.start(stderr=said), heads + 1
                # The last ones are let alone: who is struck again and again never ends.
                early = time.monotonic() > due and len(list(self.place.glob("out/*"))) < 0.75 * self.jobs
                if early and (event := next(schedule, None)):
                    name, gap = event
                    self.happened.append(name)
                    getattr(self, f"_{name}")(victims)
                    due = time.monotonic() + gap
                self._hurry()
                time.sleep(0.3)
        return {
            "jobs": self.jobs,
            "seed": self.seed,
            "outputs": len(list((self.place / "out").iterdir())),
            "beside_themselves": len(list(self.place.glob("beside-itself-*"))),
            "again": sum(path.read_text() != "\n" for path in self.place.glob("ran-*")),
            "heads": heads,
            "faults": {name: self.happened.count(name) for name in sorted(set(self.happened))},
            "seconds": round(time.monotonic() - began),
        }

    def schedule(self) -> Iterator[tuple[str, float]]:
        """Yield what goes wrong, and the seconds until the next: of the seed alone. The queue says whom it strikes."""
        dice = random.Random(self.seed)
        weights = {name: weight for name, weight in WEIGHTS.items() if name in self.faults}
        while weights:
            (name,) = dice.choices(list(weights), weights=list(weights.values()))
            yield name, dice.uniform(1, 6) * self.gap

    def _wrappers(self) -> Path:
        folder = self.place / "bin"
        folder.mkdir()
        for number, (name, fault) in enumerate(FAULTS.items()):
            if name not in self.faults:
                continue
            real = shutil.which(name)
            text = FAULTY.format(
                folder=folder, name=name, number=number, seed=self.seed, fault=fault.replace("{real}", real), real=real
            )
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        return folder

    def _running(self) -> list[str]:
        return self.cluster.run("squeue", "-h", "--states=running", "--partition=main", "--array", "-o", "%i").split()

    def _requeue(self, dice: random.Random) -> None:
        if running := self._running():
            self.cluster.run("scontrol", "requeue", dice.choice(running))

    def _preempt(self, dice: random.Random) -> None:
        words = ("--partition=urgent", "--mem=300M", "--exclusive", "--output=/dev/null", "--wrap", "sleep 1")
        self.cluster.run("sbatch", *words)

    def _node_fails(self, dice: random.Random) -> None:
        node = dice.choice(["n1", "n2"])
        self.cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=soak")
        time.sleep(2)
        self.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")

    def _restart(self, dice: random.Random) -> None:
        self.cluster.stop("slurmctld")
        time.sleep(2)
        self.cluster.daemon("slurmctld", "slurmctld", "-D")

    def _kill_head(self, dice: random.Random) -> None:
        self.process.kill()
        self.process.wait()

    def _hurry(self) -> None:
        """Be the operator: release what SLURM holds, and let requeued jobs start, which it lets wait for two minutes.

        It holds a job whose node went down as it was sent there, or five times. Not in the second of their requeue.
        """
        lines = self.cluster.run("squeue", "-h", "--states=all", "--array", "-o", "%i|%T|%r").splitlines()
        waiting = [line.split("|") for line in lines if "BeginTime" in line or HELD.search(line)]
        for job, _, reason in [one for one in waiting if one in getattr(self, "seen", ())][:20]:
            if reason == "BeginTime":
                self.cluster.run("scontrol", "update", f"jobid={job}", "StartTime=now+1")
            else:
                self.cluster.run("scontrol", "release", job)
        self.seen = waiting


def main() -> int:
    """Run a soak on a private SLURM of its own; return 0 where nothing was lost and nothing ran beside itself."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--faults", nargs="+", choices=[*WEIGHTS, *FAULTS], default=[*WEIGHTS, *FAULTS])
    parser.add_argument("--gap", type=float, default=1, help="times as long between two faults (default: %(default)s)")
    parser.add_argument("--max-running", type=int, default=256, help="jobs of one array (default: %(default)s)")
    parser.add_argument("--cores", type=int, default=16, help="claimed by each of two nodes (default: %(default)s)")
    parser.add_argument("--hours", type=float, default=1, help="after which it is given up (default: %(default)s)")
    asked = parser.parse_args()
    if (reason := why_not()) is not None:
        print(f"no private SLURM: {reason}", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as name,
        PrivateSlurm(Path(name) / "slurm", cores=asked.cores, max_array_size=1001) as one,
    ):
        soak = Soak(one, Path(name) / "work", asked.jobs, asked.seed, asked.faults, asked.gap, asked.max_running)
        found = soak.run(3600 * asked.hours)
    print(found)
    again = found["again"] if HARMLESS.issuperset(asked.faults) else 0
    return int(found["outputs"] != asked.jobs or found["beside_themselves"] + again > 0)


if __name__ == "__main__":
    sys.exit(main())
