"""What Snakemake calls: jobs are submitted, watched, reported and cancelled."""

import asyncio
import contextlib
import json
import os
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import AsyncGenerator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_plugin_submitit import efficiency, inner, tidy
from snakemake_executor_plugin_submitit.batch import Batch, Member, faults_of, key_of, place_of
from snakemake_executor_plugin_submitit.choice import chosen
from snakemake_executor_plugin_submitit.clusters import ExecutorSettings, Outage, Refused
from snakemake_executor_plugin_submitit.ending import explain, killed_for_memory, may_have_ended, may_run, state_of
from snakemake_executor_plugin_submitit.journal import Entry, Journal
from snakemake_executor_plugin_submitit.node import Command, exit_status
from snakemake_executor_plugin_submitit.resources import BadResource
from snakemake_executor_plugin_submitit.waiting import Waiting, one_look_at_a_time

ROOT = Path(".snakemake/submitit")

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    auto_deploy_default_storage_provider=False,
    pass_envvar_declarations_to_cmd=False,
    init_seconds_before_status_checks=1,
)


class Executor(RemoteExecutor):
    """Submits jobs, watches them, tells Snakemake how they ended, cancels what it submitted."""

    ready = False  # Snakemake starts to watch before there is anything to watch

    def __post_init__(self) -> None:
        """Check that this is a place to submit from, and what the rules ask for."""
        self.settings = self.workflow.executor_settings or ExecutorSettings()
        # Flat and made now: SLURM would not make it, and then fail without a log.
        self.folder = (ROOT / "jobs" / uuid.uuid4().hex[:12]).absolute()
        try:
            self.folder.mkdir(parents=True)
            self.journal = Journal(ROOT / "journal.jsonl")
        except OSError as error:
            raise WorkflowError(f"cannot write to {self.folder.parent}: {error.strerror}") from None
        self.cluster = chosen(self.settings, self.folder)
        if faults := faults_of(self.dag.needrun_jobs(), self.cluster):
            raise WorkflowError("\n".join(faults))
        os.environ.update(self.envvars())  # jobs get it; in their command, anybody would see it
        for line in self.cluster.notes:
            self.logger.info(line)
        self.backlog: deque[Batch] = deque()
        # One worker submits. Ctrl-C is raised in the main thread alone: what the worker submits gets its id noted.
        self.sender = ThreadPoolExecutor(1)
        self.stopping = False
        self.submitted: dict[str, Entry] = {}
        self.jobs: list[tuple[str, Entry]] = []
        self.missing_since: dict[str, float] = {}
        self.waiting = Waiting(self.settings.pending_warn)
        self.left_behind = self._left_behind()
        self.dying: dict[str, Entry] = {}
        self.not_cancelled: list[Entry] = []
        with contextlib.suppress(OSError):
            self.journal.compact()
        kept = {entry.folder for entry in self.left_behind.values()}
        threading.Thread(target=tidy.remove_old, args=(ROOT, self.settings.keep_days, kept), daemon=True).start()
        self.ready = True

    def _left_behind(self) -> dict[str, Entry]:
        """Return what an earlier run submitted and the cluster still has, by output."""
        entries = [entry for entry in self.journal.open_entries() if entry.cluster == self.cluster.name]
        try:
            states = self.cluster.states(entries) if entries else {}
        except Outage as outage:
            raise WorkflowError(
                f"an earlier run left jobs behind, and SLURM does not say which still run ({outage}): try again later, "
                f"or, where they cannot run any more, remove {self.journal.path}"
            ) from None
        there = [entry for entry in entries if may_run(states.get(entry.name))]
        self._note("ended", [entry for entry in entries if entry not in there])  # their files may be another head's
        return {output: entry for entry in there for output in entry.outputs}

    def get_python_executable(self) -> str:
        """Return what runs "-m snakemake" on the node: see the module `inner`."""
        return f"{super().get_python_executable()} -m {inner.NAME}"

    def run_job(self, job: JobExecutorInterface) -> None:  # noqa: D102 - Snakemake's
        self.run_jobs([job])

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Submit every job that is ready; those with the same needs together. A failure is that of its jobs."""
        one_look_at_a_time(self.workflow.scheduler)
        alike: dict[str, list[Member]] = defaultdict(list)
        for job in jobs:
            self.run_job_pre(job)
            key, outputs = key_of(job)
            # Each is met once: what is tried again after it is a new job.
            earlier = {entry.name: entry for output in outputs if (entry := self.left_behind.pop(output, None))}
            if [(entry.key, entry.cancelled) for entry in earlier.values()] == [(key, False)]:
                (entry,) = earlier.values()
                self.logger.info(f"job {entry.name} of an earlier run makes {job.name} {job.jobid}: attached.")
                with contextlib.suppress(OSError):  # that run may have noted it, and not have come to this
                    self.cluster.begin([entry])
                self._watch(job, entry)
                continue
            if earlier:  # in another way: other members of a group, another command
                self.logger.info(f"jobs {', '.join(earlier)} of an earlier run write what {job.name} does: cancelled.")
                self._cancel(list(earlier.values()))
                self.dying |= earlier
            try:
                needs = self.cluster.needs(job.resources, job.threads)
            except BadResource as fault:
                self.report_job_error(SubmittedJobInfo(job), msg=f"{fault}. ")
                continue
            log = (ROOT / "logs" / job.name / place_of(job)).absolute()
            # SLURM may send its signal a minute early.
            at_limit = 60 * needs.get("time", 0) - self.settings.signal_seconds - 90
            command = Command(self.format_job_exec(job), str(log), self.settings.max_timeouts, at_limit)
            together = json.dumps([job.name, needs, sorted(earlier)], sort_keys=True)
            alike[together].append(Member(job, command, key, outputs))
        for together, members in alike.items():
            name, needs, after = json.loads(together)
            size = self.cluster.largest(needs)
            for first in range(0, len(members), size):
                self.backlog.append(Batch(name, needs, tuple(after), members[first : first + size]))
        self._wake_sender()

    def _wake_sender(self) -> None:
        def complain(done: Future) -> None:
            if (error := done.exception()) is not None:
                self.workflow.scheduler.executor_error_callback(error)

        self.sender.submit(self._send).add_done_callback(complain)

    def _send(self) -> None:
        """Submit what waits. What the cluster does not take now waits on."""
        for _ in range(len(self.backlog)):
            if self.stopping:
                return
            batch = self.backlog.popleft()
            if batch.before > time.monotonic() or any(name in self.dying for name in batch.after):
                self.backlog.append(batch)
                continue
            try:
                commands = [member.command for member in batch.members]
                taken = self.cluster.submit(batch.name, batch.needs, commands, batch.sent)
            except Exception as error:  # a full disk, say: an exception here would end the whole workflow
                self._refused(batch, error if isinstance(error, Refused) else Refused(repr(error)))
                continue
            entries = [
                Entry(self.cluster.name, m.key, t.job_id, t.folder, m.command.log, m.outputs, t.held, where=t.where)
                for m, t in zip(batch.members, taken, strict=False)
            ]
            self._note("submitted", entries)
            try:
                self.cluster.begin(taken)
            except OSError as error:  # they end without having run, and SLURM tells
                self.logger.warning(f"cannot let {batch.name} begin: {error}")
            for member, entry in zip(batch.members, entries, strict=False):
                self._watch(member.job, entry)
            if len(taken) < len(batch.members):
                self.backlog.appendleft(replace(batch, members=batch.members[len(taken) :]))
                return  # first come, first served

    def _note(self, what: str, entries: list[Entry]) -> None:
        try:
            self.journal.note(what, entries)
        except OSError as error:  # a full disk: what runs goes on, but could not be attached to
            self.logger.warning(f"cannot write {self.journal.path}: {error.strerror}")

    def _watch(self, job: JobExecutorInterface, entry: Entry) -> None:
        self.submitted[entry.name] = entry
        self.jobs.append((job.name, entry))
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=entry.name, aux={"entry": entry}))

    def _refused(self, batch: Batch, refused: Refused) -> None:
        """Keep for later what the cluster may take later, in halves where it has too many; fail the rest."""
        if again := batch.again(refused, self.cluster.poll_seconds, ours=bool(self.submitted)):
            wait = again[0].before - time.monotonic()
            self.logger.warning(f"{batch.name}: SLURM does not take it now, in {wait:.0f} s again: {refused}")
            self.backlog += again
            return
        tries = f" in {batch.tries + 1} tries" if batch.tries else ""
        for member in batch.members:
            self.report_job_error(SubmittedJobInfo(member.job), msg=f"SLURM did not take it{tries}: {refused}. ")

    async def check_active_jobs(self, active_jobs: list[SubmittedJobInfo]) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Yield the jobs that may still run; report the others. An outage of SLURM's is no failure of a job."""
        if not self.ready:
            return
        if self.backlog:
            self._wake_sender()
        dying = list(self.dying.values())
        watched = [info.aux["entry"] for info in active_jobs] + dying + self.not_cancelled
        if not watched:
            return
        try:
            states = await asyncio.to_thread(self.cluster.states, watched)
        except Outage as outage:
            self.logger.warning(f"SLURM does not answer, waiting: {outage}")
            for info in active_jobs:
                yield info
            return
        again, self.not_cancelled = [entry for entry in self.not_cancelled if may_run(states.get(entry.name))], []
        if again:
            await asyncio.to_thread(self._cancel, again)
        for entry in dying:
            if not may_run(states.get(entry.name)):
                self.dying.pop(entry.name)
        seen = {entry.name: states[entry.name] for entry in watched if entry.name in states}
        for line in self.waiting.news(seen, time.monotonic()):
            self.logger.warning(line)
        ended = [info.aux["entry"] for info in active_jobs if may_have_ended(seen.get(info.external_jobid))]
        left = {entry.name: exit_status(entry.folder, entry.job_id) for entry in ended}
        try:
            unclear = [entry for entry in ended if left[entry.name] != "0" and not may_run(seen.get(entry.name))]
            records = await asyncio.to_thread(self.cluster.accounted, unclear) if unclear else {}
        except Outage as outage:
            self.logger.debug(f"no accounting: {outage}")
            records = {}
        for info in active_jobs:
            name, entry = info.external_jobid, info.aux["entry"]
            if name not in left:
                self.missing_since.pop(name, None)
                yield info
            elif left[name] == "0":
                self._forget([entry])
                self.report_job_success(info)
            else:
                killed, record = killed_for_memory(entry), records.get(name)
                state, sure = state_of(left[name], seen.get(name), record, bool(killed), self.cluster.accounts)
                if not state or (not sure and not self._waited_for(name)):
                    yield info
                    continue
                if not sure:  # nobody may write beside the next try
                    await asyncio.to_thread(self._cancel, [entry])
                said = explain(entry, state, left[name], record, killed)
                self._forget([entry])
                self.report_job_error(info, msg=said)

    async def sleep(self) -> None:
        """Wait for the next look, or for the end of the run."""
        until = time.monotonic() + (self.cluster.poll_seconds if self.ready else 1)
        while self.wait and time.monotonic() < until:
            await asyncio.sleep(0.1)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel what this run submitted and has not seen end, and nothing else."""
        self.stopping = True
        self.sender.submit(self.backlog.clear).result()  # what was on its way has an id when the worker comes to this
        # Not `active_jobs`: Snakemake empties that list while it checks.
        entries = [*self.submitted.values(), *self.not_cancelled]
        self._cancel(entries)
        tidy.remove_files(entries)

    def _cancel(self, entries: list[Entry]) -> None:
        self._note("cancelled", entries)
        try:
            self.cluster.cancel(entries)
        except Outage as outage:
            self.not_cancelled += entries
            self.logger.warning(f"could not cancel all that was submitted: {outage}")

    def shutdown(self) -> None:
        """Stop submitting and watching; write the efficiency table where one is asked for."""
        self.stopping = True
        super().shutdown()
        if self.settings.efficiency and self.jobs:
            try:
                efficiency.write(Path(self.settings.efficiency), self.jobs, self.cluster.accounted)
            except (Outage, OSError) as error:
                self.logger.warning(f"no efficiency table: {error}")

    def _waited_for(self, name: str) -> bool:
        """Tell whether we have waited long enough for news of a job."""
        first = self.missing_since.setdefault(name, time.monotonic())
        return time.monotonic() - first >= self.settings.lost_seconds

    def _forget(self, entries: list[Entry]) -> None:
        """Forget jobs that have ended; their logs stay."""
        for entry in entries:
            self.submitted.pop(entry.name, None)
            self.missing_since.pop(entry.name, None)
        self._note("ended", entries)
        tidy.remove_files(entries)
