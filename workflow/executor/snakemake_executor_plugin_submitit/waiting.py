"""What is told of jobs that SLURM keeps waiting: a hold at once, a long wait with SLURM's reason, each once.

And how often Snakemake looks for jobs that wait for it.
"""

import re
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from snakemake_executor_plugin_submitit.clusters import Seen

HELD = re.compile(r"held|hold|special_exit", re.IGNORECASE)
"""In a state or reason: nobody but a person or an administrator lets such a job go."""
WAITING = {"PENDING", "COMPLETING", "REQUEUE_HOLD", "REQUEUED", "SPECIAL_EXIT", "RESV_DEL_HOLD"}


class Waiting:
    """Jobs that wait: since when, and of which it was told."""

    def __init__(self, minutes: float):
        """Tell of a wait of `minutes`."""
        self.minutes = minutes
        self.since: dict[str, float] = {}
        self.told: dict[str, set[str]] = {}

    def news(self, seen: Mapping[str, Seen], now: float) -> list[str]:
        """Return lines to tell, at `now` (monotonic seconds), of jobs by name as the queue shows them."""
        fresh: dict[tuple[bool, str], list[str]] = defaultdict(list)
        for name, (state, reason) in seen.items():
            if state not in WAITING:
                self.since.pop(name, None)
                self.told.pop(name, None)
                continue
            waited = now - self.since.setdefault(name, now)
            held = bool(HELD.search(f"{state} {reason}"))
            told, what = self.told.setdefault(name, set()), reason if held else "long"
            if (held or waited >= 60 * self.minutes) and what not in told:
                told.add(what)
                fresh[held, state if reason in ("", "None") else reason].append(name)
        return [_line(held, reason, names, self.minutes) for (held, reason), names in fresh.items()]


def _line(held: bool, reason: str, names: list[str], minutes: float) -> str:
    some = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    if held:
        return f"SLURM holds {some}: {reason}. `scontrol release` lets it go, `scancel` ends it."
    return f"{some}: waiting for {minutes:g} minutes now. SLURM's reason: {reason}"


def one_look_at_a_time(scheduler: Any) -> None:
    """Let Snakemake's scheduler plan its next look for jobs to start only when that before is due.

    By itself it plans one, a second later, at each look, and looks at each end of a job too: after a thousand jobs, a
    thousand times a second.
    """
    plan, due = getattr(scheduler, "_schedule_reevalutation", None), 0.0
    if plan is None or "_schedule_reevalutation" in vars(scheduler):  # another Snakemake's, or it does already
        return

    def plan_one(delay: float) -> None:
        nonlocal due
        delay = min(delay, 60)  # of a limit of jobs an hour, some end within it
        if (now := time.monotonic()) >= due:
            due = now + 0.9 * delay  # it must have passed when that look is there
            plan(delay)

    scheduler._schedule_reevalutation = plan_one
