"""Clusters that need no SLURM: this machine's cores and GPUs through submitit's local executor, and in-process."""

import contextlib
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import submitit

from snakemake_executor_plugin_submitit.clusters import Cluster, ExecutorSettings, Refused, Seen, Taken
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.node import GRACE, Command, deaf_to_the_terminal, exit_file
from snakemake_executor_plugin_submitit.resources import BadResource, machine_needs


@dataclass(frozen=True)
class Slots:
    """What a job that runs now holds: cores, and GPUs by name. `handle` keeps its process from becoming a zombie."""

    cores: int
    gpus: tuple[str, ...]
    folder: str
    handle: submitit.Job | None = None


class Local(Cluster):
    """This machine: a job starts when the cores and GPUs that it asks for are free, first come first served."""

    name = "local"

    def __init__(self, folder: Path, settings: ExecutorSettings):
        """Hand out the cores that this process may use and the GPUs that are visible."""
        super().__init__(folder, settings)
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.gpus = visible_gpus()
        self.running: dict[str, Slots] = {}
        self._lock = threading.Lock()

    def needs(self, resources: Mapping[str, Any], threads: int) -> dict[str, Any]:
        """Return the minutes, cores and GPUs of a job; without any GPU here, jobs run without."""
        found = machine_needs(resources, threads)
        if self.gpus and found["gpus"] > len(self.gpus):
            raise BadResource(f"gpu={found['gpus']}: this machine has {len(self.gpus)}")
        return found | {"gpus": found["gpus"] if self.gpus else 0, "cores": min(found["cores"], self.cores)}

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command], sent: str = "") -> list[Taken]:
        """Start the first commands, as many as fit beside what runs; each is given cores, and GPUs by name."""
        taken: list[Taken] = []
        with self._lock:
            for command in commands:
                self.running = {job_id: slots for job_id, slots in self.running.items() if _runs(job_id, slots.folder)}
                held = {gpu for slots in self.running.values() for gpu in slots.gpus}
                gpus = tuple(gpu for gpu in self.gpus if gpu not in held)[: needs["gpus"]]
                cores = self.cores - sum(slots.cores for slots in self.running.values())
                if len(gpus) < needs["gpus"] or cores < needs["cores"]:
                    break
                try:
                    handle = self._start(replace(command, gpus=",".join(gpus) if self.gpus else None), needs["minutes"])
                except OSError as error:
                    if taken:
                        break
                    raise Refused(f"cannot start it: {error.strerror}") from None
                self.running[handle.job_id] = Slots(needs["cores"], gpus, str(self.folder), handle)
                taken.append(Taken(handle.job_id, str(self.folder), {"cores": needs["cores"], "gpus": list(gpus)}))
        return taken

    def _start(self, command: Command, minutes: int) -> submitit.Job:
        executor = submitit.LocalExecutor(self.folder, max_num_timeout=self.settings.max_timeouts)
        executor.update_parameters(
            timeout_min=minutes,
            # submitit kills at the limit: what is being saved needs its grace before.
            signal_delay_s=min(max(self.settings.signal_seconds, GRACE + 5), 30 * minutes),
            stderr_to_stdout=True,
        )
        with deaf_to_the_terminal():
            return executor.submit(command)

    def states(self, entries: Sequence[Entry]) -> dict[str, Seen]:
        """Return RUNNING or FAILED for each job; one that succeeded has left that in its exit file.

        One that an earlier run started, and that still runs, keeps its cores and GPUs.
        """
        running = {entry.job_id: entry for entry in entries if _runs(entry.job_id, entry.folder)}
        with self._lock:
            for entry in running.values():
                if entry.job_id not in self.running:
                    held = {"cores": 1, "gpus": ()} | entry.held
                    self.running[entry.job_id] = Slots(held["cores"], tuple(held["gpus"]), entry.folder)
        return {entry.name: Seen("RUNNING" if entry.job_id in running else "FAILED") for entry in entries}

    def cancel(self, entries: Sequence[Entry]) -> None:
        """End jobs and all that they started: TERM, then KILL for what is left."""
        processes = []
        for entry in entries:
            with contextlib.suppress(psutil.Error):  # it may end at any time
                if _runs(entry.job_id, entry.folder):
                    processes.append(psutil.Process(int(entry.job_id)))
                    processes[-1].terminate()
        _, left = psutil.wait_procs(processes, timeout=GRACE + 5)
        for process in list(left):
            with contextlib.suppress(psutil.Error):
                left += process.children(recursive=True)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()


class Debug(Cluster):
    """This very process: one job after the other, its output and input the terminal's, so that a debugger works.

    Ctrl-C reaches the job itself, and what ran in an earlier run's process ended with it.
    """

    name = "debug"
    needs = staticmethod(machine_needs)  # nobody limits them
    handles: tuple[submitit.Job, ...] = ()  # submitit names a job by its place in memory: none may be used twice

    def submit(self, name: str, needs: dict[str, Any], commands: Sequence[Command], sent: str = "") -> list[Taken]:
        """Run the first command to its end."""
        handle = submitit.DebugExecutor(self.folder).submit(subprocess.call, ["bash", "-c", commands[0].command])
        self.handles += (handle,)
        exit_file(self.folder, handle.job_id).write_text(str(handle.result()), encoding="utf-8")
        return [Taken(handle.job_id, str(self.folder))]

    def states(self, entries: Sequence[Entry]) -> dict[str, Seen]:
        """Return FAILED for each job: what was submitted has ended, and what succeeded has left that in its file."""
        return {entry.name: Seen("FAILED") for entry in entries}


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that CUDA would show to us, by number or UUID; none where there is no driver."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return tuple(name.strip() for name in chosen.split(",") if name.strip())
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30, check=True)
        cards = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]  # their MIG parts follow
        return tuple(map(str, range(len(cards))))
    return ()


def _runs(job_id: str, folder: Path | str) -> bool:
    """Tell whether a process is submitit's for a job in `folder`: numbers of processes are used again."""
    try:
        words = psutil.Process(int(job_id)).cmdline()
        # None yet: for a moment after it was started, a process has no command line.
        return not words or any(word.startswith(str(folder)) for word in words)
    except (psutil.Error, ValueError):
        return False
