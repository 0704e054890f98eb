"""Snakemake executor: every job to SLURM through submitit, jobs with the same needs as one array.

`snakemake --executor submitit`, or `--profile slurm`. Sources: submitit (github.com/facebookincubator/submitit) and
Snakemake's executor plugin interface.
"""

import asyncio
import contextlib
import json
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_plugin_submitit import efficiency
from snakemake_executor_plugin_submitit.clusters import ALIVE, Cluster, Outage, Record, Refused
from snakemake_executor_plugin_submitit.failure import explain
from snakemake_executor_plugin_submitit.journal import Entry, Journal, job_key
from snakemake_executor_plugin_submitit.local import Debug, Local
from snakemake_executor_plugin_submitit.node import Command, exit_file
from snakemake_executor_plugin_submitit.resources import BadResource, shared_name
from snakemake_executor_plugin_submitit.settings import CLUSTERS, ExecutorSettings
from snakemake_executor_plugin_submitit.slurm import Slurm

ROOT = Path(".snakemake/submitit")
TRIES = 60
"""Looks at the cluster, at most, during which a submission is tried again."""


@dataclass(frozen=True)
class Member:
    """A job on its way to the cluster."""

    job: JobExecutorInterface
    command: Command
    key: str


@dataclass(frozen=True)
class Batch:
    """Jobs with the same needs, sent together; `tries` counts the times that the cluster refused them."""

    rule: str
    needs: dict
    members: list[Member]
    tries: int = 0


common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=1,
)


class Executor(RemoteExecutor):
    """Submits jobs, watches them, tells Snakemake how they ended, cancels what it submitted."""

    def __post_init__(self) -> None:
        """Check that this is a place to submit from."""
        self.settings = self.workflow.executor_settings or ExecutorSettings()
        # Flat and made now: SLURM would not make it, and then fail without a log.
        self.folder = (ROOT / "jobs" / uuid.uuid4().hex[:12]).absolute()
        try:
            self.folder.mkdir(parents=True)
            self.journal = Journal(ROOT / "journal.jsonl")
        except OSError as error:
            raise WorkflowError(f"cannot write to {self.folder.parent}: {error.strerror}") from None
        self.cluster = self._cluster()
        self.left_behind = self._left_behind()
        self.backlog: deque[Batch] = deque()
        self.sending = threading.Lock()
        # Ctrl-C is raised in the main thread alone: elsewhere, what was submitted gets its id noted.
        self.sender = ThreadPoolExecutor(1)
        self.submitted: set[str] = set()
        self.rules: dict[str, str] = {}
        self.missing_since: dict[str, float] = {}
        self.next_seconds_between_status_checks = self.cluster.poll_seconds

    def _cluster(self) -> Cluster:
        name = self.settings.cluster
        if name not in CLUSTERS:
            raise WorkflowError(f"--submitit-cluster {name}: choose from {', '.join(CLUSTERS)}")
        if name == "auto":
            name = "local" if shutil.which("srun") is None else "slurm"
        if self.settings.efficiency and name != "slurm":
            raise WorkflowError(f"--submitit-efficiency needs SLURM's accounting; this is cluster {name}")
        try:
            if name == "slurm":
                return Slurm(self.folder, self.settings)
        except Refused as refused:
            raise WorkflowError(str(refused)) from None
        return Local(self.folder, self.settings) if name == "local" else Debug(self.folder, self.settings)

    def _left_behind(self) -> dict[str, Entry]:
        """Return what an earlier run submitted and the cluster still has, by key."""
        entries = {k: e for k, e in self.journal.open_entries().items() if e.cluster == self.cluster.name}
        if not entries:
            return {}
        try:
            states = self.cluster.states(entries.values())
        except Outage as outage:
            raise WorkflowError(
                f"an earlier run left jobs behind, and SLURM does not say which still run ({outage}): try again later"
            ) from None
        return {key: entry for key, entry in entries.items() if states.get(entry.job_id) in ALIVE}

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit one job."""
        self.run_jobs([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit every job that is ready; those with the same needs together. A failure is that of its jobs."""
        alike: dict[str, list[Member]] = {}
        for job in jobs:
            self.run_job_pre(job)
            members = list(job.jobs) if job.is_group() else [job]
            key = job_key(job.name, list(map(str, job.output)), [str(member.shellcmd) for member in members])
            if (entry := self.left_behind.pop(key, None)) is not None:
                self.logger.info(f"job {entry.job_id} of an earlier run makes {job.name} {job.jobid}: attached.")
                self._watch(job, entry)
                continue
            try:
                needs = self.cluster.needs(job.resources, job.threads)
            except BadResource as fault:
                self.report_job_error(SubmittedJobInfo(job), msg=f"{fault}. ")
                continue
            command = Command(
                self.format_job_exec(job), str(self.folder), str(self.log_folder(job)), self.settings.max_timeouts
            )
            alike.setdefault(json.dumps([job.name, needs], sort_keys=True), []).append(Member(job, command, key))
        size = self.cluster.largest()
        for key, members in alike.items():
            for first in range(0, len(members), size):
                self.backlog.append(Batch(*json.loads(key), members[first : first + size]))
        self.sender.submit(self._send).result()

    def log_folder(self, job: JobExecutorInterface) -> Path:
        """Return where the logs of a job's attempts go: logs/{rule}/{wildcards}/."""
        place = ",".join(f"{k}={v}" for k, v in wildcards_of(job).items()).replace("/", "|") or str(job.jobid)
        return (ROOT / "logs" / job.name / place[:200]).absolute()

    def _send(self) -> None:
        """Submit what waits. What the cluster does not take now waits on."""
        with self.sending:
            for _ in range(len(self.backlog)):
                batch = self.backlog.popleft()
                name = shared_name(batch.rule, [wildcards_of(member.job) for member in batch.members])
                try:
                    taken = self.cluster.submit(name, batch.needs, [member.command for member in batch.members])
                except Refused as refused:
                    self._refused(batch, refused)
                    continue
                entries = [
                    Entry(self.cluster.name, member.key, job_id, str(self.folder), member.command.log)
                    for member, job_id in zip(batch.members, taken, strict=False)
                ]
                self._note(self.journal.submitted, entries)
                for member, entry in zip(batch.members, entries, strict=False):
                    self._watch(member.job, entry)
                if len(taken) < len(batch.members):
                    self.backlog.appendleft(replace(batch, members=batch.members[len(taken) :]))
                    break  # first come, first served

    def _note(self, write: Callable[[Any], None], what: Any) -> None:
        try:
            write(what)
        except OSError as error:  # a full disk: what runs goes on, but could not be attached to
            self.logger.warning(f"cannot write {self.journal.path}: {error.strerror}")

    def _watch(self, job: JobExecutorInterface, entry: Entry) -> None:
        self.submitted.add(entry.job_id)
        self.rules[entry.job_id] = job.name
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=entry.job_id, aux={"entry": entry}))

    def _refused(self, batch: Batch, refused: Refused) -> None:
        """Keep for later what the cluster may take later, in halves where it has too many; fail the rest."""
        members = batch.members
        if batch.tries < TRIES and refused.later:
            self.logger.warning(f"SLURM does not take {len(members)} {batch.rule} now, later again: {refused}")
            half = -(-len(members) // 2) if refused.too_many else len(members)
            parts = [part for part in (members[:half], members[half:]) if part]
            self.backlog += [replace(batch, members=part, tries=batch.tries + 1) for part in parts]
            return
        for member in members:
            self.report_job_error(SubmittedJobInfo(member.job), msg=f"SLURM did not take it: {refused}. ")

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yield the jobs that may still run; report the others. An outage of SLURM's is no failure of a job."""
        self.next_seconds_between_status_checks = self.cluster.poll_seconds
        if self.backlog:
            await asyncio.to_thread(self._send)
        if not active_jobs:
            return
        try:
            states = await asyncio.to_thread(self.cluster.states, [info.aux["entry"] for info in active_jobs])
        except Outage as outage:
            self.logger.warning(f"SLURM does not answer, waiting: {outage}")
            for info in active_jobs:
                yield info
            return
        gone = [info for info in active_jobs if states.get(info.external_jobid) not in ALIVE]
        ended = {info.external_jobid: self._exit_status(info) for info in gone}
        records = await self._records([i for i, status in ended.items() if status != "0"])
        for info in active_jobs:
            job_id = info.external_jobid
            if job_id not in ended:
                self.missing_since.pop(job_id, None)
                yield info
            elif ended[job_id] == "0":
                self._forget(info)
                self.report_job_success(info)
            elif (state := self._terminal_state(job_id, ended[job_id], states, records)) is not None:
                self._forget(info)
                entry = info.aux["entry"]
                self.report_job_error(info, msg=explain(entry, state, ended[job_id], records.get(job_id)))
            else:
                yield info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel what this run submitted and has not seen end, and nothing else."""
        self.backlog.clear()
        # Not `active_jobs`: Snakemake empties that list while it checks.
        with self.sending:  # what is on its way has an id when this is ours
            self.backlog.clear()
        try:
            self.cluster.cancel(self.submitted)
        except Outage as outage:
            self.logger.warning(f"could not cancel all of {len(self.submitted)} jobs: {outage}")

    def shutdown(self) -> None:
        """Stop watching; write the efficiency table where one is asked for."""
        super().shutdown()
        if self.settings.efficiency and self.rules:
            try:
                efficiency.write(Path(self.settings.efficiency), self.rules, self.cluster.accounted)
            except (Outage, OSError) as error:
                self.logger.warning(f"no efficiency table: {error}")

    def _exit_status(self, info: SubmittedJobInfo) -> str | None:
        """Return what the job left of its end: an exit status, "TIMEOUT", or None where it left nothing (yet)."""
        with contextlib.suppress(OSError):
            return exit_file(info.aux["entry"].folder, info.external_jobid).read_text(encoding="utf-8").strip() or None
        return None

    async def _records(self, ids: list[str]) -> dict[str, Record]:
        try:
            return await asyncio.to_thread(self.cluster.accounted, ids) if ids else {}
        except Outage as outage:
            self.logger.debug(f"no accounting: {outage}")
            return {}

    def _terminal_state(self, job_id: str, status: str | None, states: dict, records: dict) -> str | None:
        """Return the state in which a job ended, or None where that is not sure yet."""
        if status == "TIMEOUT":
            return status
        record = records.get(job_id)
        state = states.get(job_id) or (record.state if record else None)
        if state == "COMPLETED" and status is None:
            state = None  # its exit file is on the way, over a slow file system
        if state is not None and state not in ALIVE:
            return state
        waited = time.monotonic() - self.missing_since.setdefault(job_id, time.monotonic())
        if waited < self.settings.lost_seconds:
            return None
        return "FAILED" if status is not None else "LOST (SLURM no longer knows it)"

    def _forget(self, info: SubmittedJobInfo) -> None:
        """Remove what submitit left of a job that has ended; its log stays."""
        job_id, folder = info.external_jobid, Path(info.aux["entry"].folder)
        self.submitted.discard(job_id)
        self.missing_since.pop(job_id, None)
        self._note(self.journal.ended, job_id)
        for path in [*folder.glob(f"{job_id}_*.pkl"), *folder.glob(f"{job_id}_*_log.*"), exit_file(folder, job_id)]:
            path.unlink(missing_ok=True)


def wildcards_of(job: JobExecutorInterface) -> dict[str, str]:
    """Return the wildcards of a job; a group has none."""
    return dict(getattr(job, "wildcards_dict", None) or {})
