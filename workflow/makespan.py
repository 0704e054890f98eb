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

    Args:
        experiment: a target of Snakemake.
        words: more of Snakemake's command line.

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


def bundled(
    jobs: dict[int, tuple[str, str]],
    needs: dict[int, set[int]],
    times: dict,
    bundles: dict[str, int],
    wide: dict[str, int] | None = None,
) -> dict[int, Job]:
    """Return the jobs by number: those of a rule in `bundles` so many to one, those of one in `wide` on so many GPUs.

    A wide job's seconds are those of one GPU, over their number.
    """
    wide = wide or {}
    place: dict[int, int] = {}
    open_bundles: dict[str, tuple[int, int]] = {}
    made: dict[int, Job] = {}
    for number, (rule, model) in sorted(jobs.items()):
        seconds = times.get((rule, model), times.get((rule, ""), 0.0)) / wide.get(rule, 1)
        first, held = open_bundles.get(rule, (number, 0))
        if held == bundles.get(rule, 1):
            first, held = number, 0
        open_bundles[rule] = (first, held + 1)
        place[number] = first
        made.setdefault(first, Job(f"{rule} {model}".strip(), 0.0, gpus=wide.get(rule, 1))).seconds += seconds
    for number, first in place.items():
        made[first].needs |= {place[k] for k in needs[number]} - {first}
    return made


def simulate(jobs: dict[int, Job], gpus: int, start: float) -> tuple[float, float, list[str]]:
    """Return the makespan in seconds, the share of it that GPUs are busy, and the chain of jobs that ended last."""
    waiting = {number: len(job.needs) for number, job in jobs.items()}
    wanted_by = defaultdict(list)
    for number, job in jobs.items():
        for k in job.needs:
            wanted_by[k].append(number)
    free = [0.0] * gpus
    ready = [(0.0, number) for number, count in waiting.items() if not count]
    heapq.heapify(ready)
    ends: dict[int, float] = {}
    before: dict[int, int | None] = dict.fromkeys(jobs)
    events: list[tuple[float, int]] = []
    busy = 0.0
    while ready or events:
        # Whatever ends before the next job can begin may make others ready that began to wait earlier.
        while ready and (not events or _begins(*ready[0], jobs, free) <= events[0][0]):
            since, number = heapq.heappop(ready)
            job = jobs[number]
            began = since
            if job.seconds:
                taken = [heapq.heappop(free) for _ in range(min(job.gpus, gpus))]
                began = max(since, taken[-1])
                for _ in taken:
                    heapq.heappush(free, began + start + job.seconds)
                busy += len(taken) * (start + job.seconds)
            ends[number] = began + (start + job.seconds if job.seconds else 0)
            heapq.heappush(events, (ends[number], number))
        ended, number = heapq.heappop(events)
        for k in wanted_by[number]:
            waiting[k] -= 1
            before[k] = number
            if not waiting[k]:
                heapq.heappush(ready, (ended, k))
    last: int | None = max(ends, key=ends.__getitem__)
    makespan, chain = ends[last], []
    while last is not None:
        chain.append(last)
        last = before[last]
    named = [f"{jobs[k].name} {duration(jobs[k].seconds)}" for k in reversed(chain) if jobs[k].seconds]
    return makespan, busy / (gpus * makespan) if makespan else 1.0, named


def _begins(since: float, number: int, jobs: dict[int, Job], free: list[float]) -> float:
    """Return when a job that waits since then could begin, GPUs being free from `free` on."""
    wanted = min(jobs[number].gpus, len(free)) if jobs[number].seconds else 0
    return max([since, *heapq.nsmallest(wanted, free)])


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
    parser.add_argument(
        "--wide", nargs="+", default=[], metavar="RULE=N", help="GPUs of one job: its seconds, those of one, over N"
    )
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
    overridden = {rule for rule, _ in given}
    times = {key: s for key, s in measured(folder).items() if key[0] not in overridden} | given
    if not times:
        sys.exit(
            f"no benchmark file (.tsv) below {folder}: run some jobs first, or give --seconds train=600 ascend=5 …"
        )
    jobs, needs = plan(asked.experiment, asked.snakemake)
    made = bundled(jobs, needs, times, bundles, wide)
    on_gpu = [job for job in made.values() if job.seconds]
    work = sum(job.gpus * (job.seconds + asked.start) for job in on_gpu)
    print(f"{asked.experiment}: {len(jobs)} jobs, {len(on_gpu)} submissions that take a GPU, {duration(work)} of work")
    counts = defaultdict(lambda: [0, 0.0])
    for rule, model in jobs.values():
        counts[rule][0] += 1
        counts[rule][1] += times.get((rule, model), times.get((rule, ""), 0.0))
    for rule, (count, seconds) in sorted(counts.items(), key=lambda entry: -entry[1][1]):
        if seconds:
            print(f"  {rule}: {count} jobs, {duration(seconds)}")
    print(f"{'GPUs':>5}  {'makespan':>9}  {'speed-up':>8}  {'busy':>5}  bottleneck")
    for gpus in asked.gpus:
        makespan, busy, chain = simulate(made, gpus, asked.start)
        bottleneck = "the GPUs" if busy > 0.8 else "the chain " + ", ".join(chain)
        print(f"{gpus:>5}  {duration(makespan):>9}  {work / makespan:>8.1f}  {busy:>5.0%}  {bottleneck}")


if __name__ == "__main__":
    main()
