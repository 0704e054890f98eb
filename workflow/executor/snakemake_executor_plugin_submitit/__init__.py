"""Snakemake executor: every job to SLURM through submitit, jobs with the same needs as one array.

`snakemake --executor submitit`, or `--profile slurm`. Sources: submitit (github.com/facebookincubator/submitit) and
Snakemake's executor plugin interface.
"""

import asyncio
import contextlib
import getpass
import json
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path

import submitit
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_submitit import cluster
from snakemake_executor_plugin_submitit.journal import Entry, Journal, job_key
from snakemake_executor_plugin_submitit.node import Command, exit_file
from snakemake_executor_plugin_submitit.resources import BadResource, sbatch_parameters

ROOT = Path(".snakemake/submitit")
TAIL = 15
"""Lines of a failed job's log that its error shows."""
TRANSIENT = (
    *("Socket timed out", "Unable to contact slurm controller", "temporarily unable", "Connection refused"),
    *("Resource temporarily unavailable", "Communication connection failure", "Zero Bytes were transmitted"),
)
"""What sbatch says when it may take the same job a little later."""
LIMITS = ("MaxSubmitJob", "MaxJobs", "Job violates accounting/QOS policy")
"""What it says when there are too many jobs for now; an array counts as its tasks."""
TRIES = 60
"""Looks at SLURM, at most, during which a submission is tried again."""


@dataclass(frozen=True)
class Member:
    """A job on its way to SLURM."""

    job: JobExecutorInterface
    command: Command
    key: str


@dataclass(frozen=True)
class Batch:
    """Jobs with the same needs, sent as one array; `tries` counts the times that SLURM did not take them."""

    name: str
    parameters: dict
    members: list[Member]
    tries: int = 0


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """Settings on the command line, as ``--submitit-max-array-size``."""

    max_array_size: int = field(default=500, metadata={"help": "jobs in one SLURM array at most"})
    max_running: int = field(default=256, metadata={"help": "tasks of one array that run at once at most"})
    max_timeouts: int = field(default=3, metadata={"help": "times a job is requeued at its time limit"})
    signal_seconds: int = field(default=90, metadata={"help": "seconds before its limit in which a job saves its work"})
    poll_seconds: int = field(default=10, metadata={"help": "seconds between two looks at SLURM"})
    lost_seconds: int = field(default=120, metadata={"help": "seconds after which a job SLURM forgot is given up"})


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
        for program in ("srun", "sbatch", "squeue", "scancel"):
            if shutil.which(program) is None:
                raise WorkflowError(f"no {program} on PATH: --executor submitit needs a SLURM cluster's login node")
        self.settings = self.workflow.executor_settings or ExecutorSettings()
        # Flat and made now: SLURM would not make it, and then fail without a log.
        self.folder = (ROOT / "jobs" / uuid.uuid4().hex[:12]).absolute()
        self.folder.mkdir(parents=True)
        self.journal = Journal(ROOT / "journal.jsonl")
        self.left_behind = self._left_behind()
        self.backlog: list[Batch] = []
        self.submitted: set[str] = set()
        self.missing_since: dict[str, float] = {}
        self.next_seconds_between_status_checks = self.settings.poll_seconds

    def run_job(self, job: JobExecutorInterface) -> None:
        """Submit one job."""
        self.run_jobs([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit every job that is ready; those with the same needs as one array. A failure is that of its jobs."""
        alike: dict[str, list[Member]] = {}
        for job in jobs:
            self.run_job_pre(job)
            members = list(job.jobs) if job.is_group() else [job]
            key = job_key(job.name, list(map(str, job.output)), [str(member.shellcmd) for member in members])
            if (entry := self.left_behind.pop(key, None)) is not None:
                self.logger.info(f"SLURM job {entry.job_id} of an earlier run makes {job.name} {job.jobid}: attached.")
                self._watch(job, entry)
                continue
            try:
                parameters = sbatch_parameters(job.resources, job.threads)
            except BadResource as fault:
                self.report_job_error(SubmittedJobInfo(job), msg=f"{fault}. ")
                continue
            command = Command(self.format_job_exec(job), str(self.log_folder(job)), self.settings.max_timeouts)
            alike.setdefault(json.dumps([job.name, parameters], sort_keys=True), []).append(Member(job, command, key))
        size = self.settings.max_array_size
        for needs, members in alike.items():
            for first in range(0, len(members), size):
                self._submit(Batch(*json.loads(needs), members[first : first + size]))

    def log_folder(self, job: JobExecutorInterface) -> Path:
        """Return where the logs of a job's attempts go: logs/{rule}/{wildcards}/."""
        wildcards = getattr(job, "wildcards_dict", None) or {}
        place = ",".join(f"{k}={v}" for k, v in wildcards.items()).replace("/", "|") or str(job.jobid)
        return (ROOT / "logs" / job.name / place[:200]).absolute()

    def _left_behind(self) -> dict[str, Entry]:
        """Return what an earlier run submitted and SLURM still has, by key."""
        entries = self.journal.open_entries()
        if not entries:
            return {}
        try:
            states = cluster.queued(getpass.getuser())
        except cluster.Outage as outage:
            raise WorkflowError(
                f"an earlier run left jobs behind, and SLURM does not say which still run ({outage}): try again later"
            ) from None
        return {key: entry for key, entry in entries.items() if states.get(entry.job_id) in cluster.ALIVE}

    def _submit(self, batch: Batch) -> None:
        parameters = dict(batch.parameters)
        extra = parameters.pop("additional_parameters", {})
        executor = submitit.SlurmExecutor(
            self.folder, max_num_timeout=self.settings.max_timeouts, python=f"exec {shlex.quote(sys.executable)}"
        )
        signalled = {"signal": f"B:USR2@{self.settings.signal_seconds}", "requeue": True}
        try:
            with cluster.scrubbed():
                executor.update_parameters(
                    **parameters,
                    job_name=batch.name,
                    use_srun=False,
                    stderr_to_stdout=True,
                    array_parallelism=self.settings.max_running,
                    additional_parameters=signalled | extra,
                )
                sent = executor.submit_array([member.command for member in batch.members])
        except Exception as error:  # of sbatch, whatever submitit makes of it: these jobs', not the workflow's
            self._not_taken(batch, " ".join(str(error).split())[-400:])
            return
        entries = [
            Entry(member.key, handle.job_id, str(self.folder), member.command.log)
            for member, handle in zip(batch.members, sent, strict=True)
        ]
        self.journal.submitted(entries)
        for member, entry in zip(batch.members, entries, strict=True):
            self._watch(member.job, entry)

    def _watch(self, job: JobExecutorInterface, entry: Entry) -> None:
        self.submitted.add(entry.job_id)
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=entry.job_id, aux={"entry": entry}))

    def _not_taken(self, batch: Batch, reason: str) -> None:
        """Keep for later what SLURM may take later, in halves where it has too many; fail the rest."""
        too_many = any(limit in reason for limit in LIMITS)
        if batch.tries < TRIES and (too_many or any(said in reason for said in TRANSIENT)):
            self.logger.warning(f"SLURM does not take {len(batch.members)} {batch.name} now, later again: {reason}")
            half = -(-len(batch.members) // 2) if too_many else len(batch.members)
            parts = [batch.members[:half], batch.members[half:]]
            self.backlog += [Batch(batch.name, batch.parameters, part, batch.tries + 1) for part in parts if part]
            return
        for member in batch.members:
            self.report_job_error(SubmittedJobInfo(member.job), msg=f"SLURM did not take it: {reason}. ")

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yield the jobs that may still run; report the others. An outage of SLURM's is no failure of a job."""
        self.next_seconds_between_status_checks = self.settings.poll_seconds
        waiting, self.backlog = self.backlog, []
        for batch in waiting:
            await asyncio.to_thread(self._submit, batch)
        try:
            states = await asyncio.to_thread(cluster.queued, getpass.getuser())
        except cluster.Outage as outage:
            self.logger.warning(f"SLURM does not answer, waiting: {outage}")
            for info in active_jobs:
                yield info
            return
        gone = [info for info in active_jobs if states.get(info.external_jobid) not in cluster.ALIVE]
        ended = {info.external_jobid: self._exit_status(info) for info in gone}
        records = await self._records([i for i, status in ended.items() if status != "0"])
        for info in active_jobs:
            job_id = info.external_jobid
            if info not in gone:
                self.missing_since.pop(job_id, None)
                yield info
            elif ended[job_id] == "0":
                self._forget(info)
                self.report_job_success(info)
            elif (state := self._terminal_state(job_id, ended[job_id], states, records)) is not None:
                self._forget(info)
                self.report_job_error(info, msg=self._failure(info, state, ended[job_id], records.get(job_id)))
            else:
                yield info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel what this run submitted and has not seen end, and nothing else."""
        self.backlog.clear()
        # Not `active_jobs`: Snakemake empties that list while it checks.
        try:
            cluster.cancel(self.submitted)
        except cluster.Outage as outage:
            self.logger.warning(f"could not cancel all of {len(self.submitted)} jobs: {outage}")

    def _exit_status(self, info: SubmittedJobInfo) -> str | None:
        """Return what the job left of its end: an exit status, "TIMEOUT", or None where it left nothing (yet)."""
        with contextlib.suppress(OSError):
            return exit_file(info.aux["entry"].folder, info.external_jobid).read_text(encoding="utf-8").strip() or None
        return None

    async def _records(self, ids: list[str]) -> dict[str, cluster.Record]:
        try:
            return await asyncio.to_thread(cluster.accounted, ids) if ids else {}
        except cluster.Outage as outage:
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
        if state is not None and state not in cluster.ALIVE:
            return state
        waited = time.monotonic() - self.missing_since.setdefault(job_id, time.monotonic())
        if waited < self.settings.lost_seconds:
            return None
        return "FAILED" if status is not None else "LOST (SLURM no longer knows it)"

    def _failure(self, info: SubmittedJobInfo, state: str, status: str | None, record: cluster.Record | None) -> str:
        """Return what a person needs to know of a failed job, in lines."""
        lines = [
            f"SLURM job {info.external_jobid}: {state}"
            + (f", exit status {status}" if status and status.isdigit() else "")
        ]
        if record is not None:
            lines.append(
                f"memory {record.memory or 'unknown'} of {record.asked}, ran {record.elapsed} of {record.limit}"
            )
        entry = info.aux["entry"]
        logs = sorted(Path(entry.log).glob(f"{entry.job_id}.*.log"))
        if logs:
            last = logs[-1].read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL:]
            lines += [f"log: {logs[-1]}", *(f"    {line}" for line in last)]
        return "\n".join(lines) + "\n"

    def _forget(self, info: SubmittedJobInfo) -> None:
        """Remove what submitit left of a job that has ended; its log stays."""
        job_id, folder = info.external_jobid, Path(info.aux["entry"].folder)
        self.submitted.discard(job_id)
        self.missing_since.pop(job_id, None)
        self.journal.ended(job_id)
        for path in [*folder.glob(f"{job_id}_*.pkl"), *folder.glob(f"{job_id}_*.out"), exit_file(folder, job_id)]:
            path.unlink(missing_ok=True)
