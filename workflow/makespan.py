"""How long an experiment takes on 1, 8, 64, 512 GPUs: simulated from measured jobs, with the bottleneck named.

    python workflow/makespan.py digits
    python workflow/makespan.py imagenet --seconds train=80000 certify=2000 ascend=12 align=900 --wide train=16

The jobs and what they wait for are Snakemake's plan of the whole experiment. A job's seconds are the mean of the
benchmark files of its rule and model, or, where that model has none, of its rule; rules without any take no GPU and no
time. Each bundle or job waits for its inputs, then for a GPU; the first that waits is the first to run (as on a cluster
that is otherwise idle), and it costs `--start` seconds more.
"""

import argparse
import csv
import heapq
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path

NODE = re.compile(r'^\t(\d+)\[label = "(\w+)(.*)", color')
EDGE = re.compile(r"^\t(\d+) -> (\d+)$")


@dataclass
class Job:
    """A job, or several that go one after the other: its seconds (0: no GPU is wanted), what it waits for, its GPUs."""

    name: str
    seconds: float
    needs: set[int] = field(default_factory=set)
    gpus: int = 1


def plan(experiment: str, words: list[str]) -> tuple[dict[int, tuple[str, str]], dict[int, set[int]]]:
    """Return by number each job's (rule, model), the model "" where it has none, and the jobs that it waits for.

    `experiment` is a target of Snakemake, `words` are more of Snakemake's command line.
    """
    command = [sys.executable, "-m", "snakemake", "--forceall", "--dag", "dot", *words, "--", experiment]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "snakemake failed")
    jobs, needs = {}, defaultdict(set)
    for line in done.stdout.splitlines():
        if found := NODE.match(line):
            model = re.search(r"\\nmodel: (.*?)(\\n|$)", found[3])
            jobs[int(found[1])] = (found[2], model[1] if model else "")
        elif found := EDGE.match(line):
            needs[int(found[2])].add(int(found[1]))
    # Snakemake prints a model where it first stands, at its training: what waits for one model's jobs alone is of it.
    for number in TopologicalSorter({number: needs[number] for number in jobs}).static_order():
        rule, model = jobs[number]
        models = {jobs[k][1] for k in needs[number]} - {""}
        jobs[number] = (rule, model or (models.pop() if len(models) == 1 else ""))
    return jobs, needs


def measured(folder: Path) -> dict[tuple[str, str], float]:
    """Return the mean seconds by (rule, model) and by (rule, "") of the benchmark files below `folder`."""
    found = defaultdict(list)
    for path in folder.rglob("*.tsv"):
        rule, *rest = path.relative_to(folder).parts
        model = rest[0].removesuffix(".tsv")
        with path.open(encoding="utf-8") as file:
            seconds = [float(row["s"]) for row in csv.DictReader(file, delimiter="\t")]
        found[rule, model] += seconds
        found[rule, ""] += seconds
    return {key: sum(values) / len(values) for key, values in found.items()}


def time_of(job: tuple[str, str], times: dict[tuple[str, str], float]) -> float:
    """Return the seconds of a job (rule, model): its model's, or its rule's, or none."""
    return times.get(job, times.get((job[0], ""), 0.0))


def bundled(
    jobs: dict[int, tuple[str, str]],
    needs: dict[int, set[int]],
    times: dict[tuple[str, str], float],
    bundles: dict[str, int],
    wide: dict[str, int],
) -> dict[int, Job]:
    """Return the jobs by number: those of a rule in `bundles` so many to one, those of one in `wide` on so many GPUs.

    A wide job's seconds are those of one GPU, over their number.
    """
    place: dict[int, int] = {}
    made: dict[int, Job] = {}
    by_rule = defaultdict(list)
    for number, (rule, model) in sorted(jobs.items()):
        by_rule[rule].append(number)
        gpus, size = wide.get(rule, 1), bundles.get(rule, 1)
        first = place[number] = by_rule[rule][(len(by_rule[rule]) - 1) // size * size]
        job = made.setdefault(first, Job(f"{rule} {model}".strip(), 0.0, gpus=gpus))
        job.seconds += time_of((rule, model), times) / gpus
    for number, first in place.items():
        made[first].needs |= {place[k] for k in needs[number]} - {first}
    return made


def simulate(jobs: dict[int, Job], gpus: int, start: float) -> tuple[float, float, list[str]]:
    """Return the makespan in seconds, the share of it that GPUs are busy, and the chain of jobs that ended last."""
    waiting = {number: len(job.needs) for number, job in jobs.items()}
    wanted_by = defaultdict(list)
    for number, job in jobs.items():
        for need in job.needs:
            wanted_by[need].append(number)
    ready = sorted((0.0, number) for number, count in waiting.items() if not count)
    free, busy = [0.0] * gpus, 0.0
    ends: dict[int, float] = {}
    while ready:  # in the order in which they begin to wait: whatever becomes ready later has waited no longer
        since, number = heapq.heappop(ready)
        job, ends[number] = jobs[number], since
        if job.seconds:
            taken = [heapq.heappop(free) for _ in range(min(job.gpus, gpus))]
            ends[number] = max(since, taken[-1]) + start + job.seconds
            busy += len(taken) * (start + job.seconds)
            for _ in taken:
                heapq.heappush(free, ends[number])
        for wanting in wanted_by[number]:
            waiting[wanting] -= 1
            if not waiting[wanting]:
                heapq.heappush(ready, (max(ends[need] for need in jobs[wanting].needs), wanting))
    chain = [max(ends, key=ends.__getitem__)]
    makespan = ends[chain[0]]
    while needs := jobs[chain[-1]].needs:
        chain.append(max(needs, key=ends.__getitem__))
    named = [f"{jobs[k].name} {duration(jobs[k].seconds)}" for k in reversed(chain) if jobs[k].seconds]
    return makespan, busy / (gpus * makespan) if makespan else 1.0, named


def duration(seconds: float) -> str:
    """Return seconds for people: 45 s, 12 min, 3.4 h, 12 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser("python workflow/makespan.py", description=__doc__.splitlines()[0])
    parser.add_argument("experiment", help="an experiment of config.yaml")
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64, 512], help="how many (default: 1 8 64 512)")
    parser.add_argument("--times", type=Path, help="benchmark files (default: results/{experiment}/benchmarks)")
    parser.add_argument("--seconds", nargs="+", default=[], metavar="RULE=S", help="of a rule's jobs, instead of those")
    parser.add_argument("--bundle", nargs="+", default=["ascend=20"], metavar="RULE=N", help="jobs that go as one")
    parser.add_argument("--wide", nargs="+", default=[], metavar="RULE=N", help="GPUs a job: seconds are one's, over N")
    parser.add_argument("--start", type=float, default=10, help="seconds that a job costs beside its own (default: 10)")
    parser.add_argument("--snakemake", nargs=argparse.REMAINDER, default=[], help="more of Snakemake's command line")
    asked = parser.parse_args()
    try:
        bundles, wide = (
            {rule: int(n) for rule, n in (word.split("=") for word in words)} for words in (asked.bundle, asked.wide)
        )
        given = {(rule, ""): float(s) for rule, s in (word.split("=") for word in asked.seconds)}
        if min([*asked.gpus, *bundles.values(), *wide.values()]) < 1 or min([asked.start, *given.values()]) < 0:
            raise ValueError
    except ValueError:
        sys.exit("--gpus, --bundle and --wide take whole numbers above 0 (ascend=20), --seconds and --start 0 or more")
    folder = asked.times or Path("results") / asked.experiment / "benchmarks"
    times = {key: s for key, s in measured(folder).items() if (key[0], "") not in given} | given
    if not times:
        sys.exit(f"no benchmark file (.tsv) below {folder}: run some jobs first, or give --seconds train=600 …")
    jobs, needs = plan(asked.experiment, asked.snakemake)
    made = bundled(jobs, needs, times, bundles, wide)
    on_gpu = [job for job in made.values() if job.seconds]
    work = sum(job.gpus * (job.seconds + asked.start) for job in on_gpu)
    print(f"{asked.experiment}: {len(jobs)} jobs, {len(on_gpu)} submissions that take a GPU, {duration(work)} of work")
    by_rule = defaultdict(list)
    for job in jobs.values():
        by_rule[job[0]].append(time_of(job, times))
    for rule, seconds in sorted(by_rule.items(), key=lambda entry: -sum(entry[1])):
        if any(seconds):
            print(f"  {rule}: {len(seconds)} jobs, {duration(sum(seconds))}")
    print(f"{'GPUs':>5}  {'makespan':>9}  {'speed-up':>8}  {'busy':>5}  bottleneck")
    for gpus in asked.gpus:
        makespan, busy, chain = simulate(made, gpus, asked.start)
        bottleneck = "the GPUs" if busy > 0.8 else "the chain " + ", ".join(chain)
        print(f"{gpus:>5}  {duration(makespan):>9}  {work / makespan:>8.1f}  {busy:>5.0%}  {bottleneck}")


if __name__ == "__main__":
    main()
