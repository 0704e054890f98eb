"""What runs on the node: one job's command in a process group of its own, and what to do with SLURM's signals.

SLURM preempts with CONT and TERM; before the time limit, and where it is told to (send_user_signal) before it preempts,
it sends USR2, which submitit answers by asking `checkpoint`. Both reach the command's whole process group, which then
has a while to save its work.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import submitit

GRACE = 20
"""Seconds between TERM and KILL: a training saves its checkpoint in them."""


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return `environment` without what submitit left in it: a job of the job must not take itself for this one."""
    return {name: value for name, value in environment.items() if not name.startswith("SUBMITIT_")}


def exit_file(folder: Path | str, job_id: str) -> Path:
    """Return the file in which a job leaves its exit status: a truth that needs no accounting."""
    return Path(folder) / f"{job_id}.exit"


def exit_status(folder: Path | str, job_id: str) -> str | None:
    """Return what a job left of its end: an exit status, "TIMEOUT", or None where it left nothing (yet)."""
    with contextlib.suppress(OSError):
        return exit_file(folder, job_id).read_text(encoding="utf-8").strip() or None
    return None


@contextlib.contextmanager
def deaf_to_the_terminal() -> Iterator[None]:
    """Start processes that neither Ctrl-C nor the end of a terminal ends: both reach us, and we end what is to end."""
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)


@dataclass
class Command:
    """A shell command as submitit pickles it; what an attempt prints goes to {log}/{SLURM id}.{attempt}.log.

    It may be stopped at its time limit and requeued `timeouts_left` times; a signal that comes earlier than `at_limit`
    seconds after its start is not the limit's.
    """

    command: str
    log: str
    timeouts_left: int
    at_limit: float = 0
    gpus: str | None = None
    """CUDA_VISIBLE_DEVICES for the command; None: as the cluster sets it."""
    child = None  # the running process, and since when: no fields, so that they are not among what is handed on
    began = 0.0

    def __call__(self) -> None:
        """Run the command; exit with its status where that is not 0."""
        environment = submitit.JobEnvironment()
        job_id = environment.job_id
        left = exit_file(environment.paths.folder, job_id)
        if exit_status(left.parent, job_id) == "0":
            return  # SLURM missed its end, and requeued it: as slurmctld does after a restart
        for stale in (left, environment.paths.result_pickle):
            stale.unlink(missing_ok=True)
        folder = Path(self.log)
        folder.mkdir(parents=True, exist_ok=True)
        attempt = os.environ.get("SLURM_RESTART_COUNT", str(len(list(folder.glob(f"{job_id}.*.log")))))
        log = folder / f"{job_id}.{attempt}.log"
        signal.signal(signal.SIGTERM, self._stop)
        with log.open("a", encoding="utf-8") as lines:
            print(f"-- job {job_id}, attempt {attempt}, {environment.hostname}: {self.command}", file=lines, flush=True)
            self.began = time.monotonic()
            self.child = subprocess.Popen(
                ["bash", "-c", self.command],
                stdout=lines,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=clean_environment(os.environ) | ({} if self.gpus is None else {"CUDA_VISIBLE_DEVICES": self.gpus}),
                start_new_session=True,
            )
            status = self.child.wait()
        # Shells say 128 + the number of the signal that ended a command.
        status = 128 - status if status < 0 else status
        left.write_text(str(status), encoding="utf-8")
        if status:
            sys.exit(status)  # no exception: submitit would turn that into a result

    def checkpoint(self) -> submitit.helpers.DelayedSubmission | None:
        """Stop the command, which saves its work; return what is to be requeued, or None where it has run too often."""
        left = self.timeouts_left - (time.monotonic() - self.began >= self.at_limit)
        self._end_child()
        # Should the requeue fail, this is how it ended; the next attempt removes it.
        environment = submitit.JobEnvironment()
        exit_file(environment.paths.folder, environment.job_id).write_text("TIMEOUT", encoding="utf-8")
        return None if left < 0 else submitit.helpers.DelayedSubmission(replace(self, timeouts_left=left))

    def _stop(self, number: int, frame: object) -> None:
        # Preempted or cancelled: SLURM knows which. No exit file, no result: this attempt says nothing of the job.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._end_child()
        sys.exit(128 + number)

    def _end_child(self) -> None:
        """End the command and all of its process group: TERM, and KILL for what is left after the grace."""
        if self.child is None:
            return
        # Snakemake takes TERM as "finish what runs"; the steps below it, in the same group, save and stop.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while not self._child_has_ended() and time.monotonic() < until:
            time.sleep(0.1)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)

    def _child_has_ended(self) -> bool:
        # Not Popen.wait: this runs in a signal handler that interrupts it, and its lock is held.
        with contextlib.suppress(ChildProcessError):
            return os.waitid(os.P_PID, self.child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        return True
