"""What Snakemake says, for people: a line a finished job, warnings, failures with the end of their log, what was made.

`snakemake --logger progress`, or `logger: progress` in a profile. On a terminal a bar below the lines has the jobs
done, those that run and the time left; elsewhere each line has it. With --verbose, --debug-dag, --printshellcmds or
--dry-run, and in Snakemake's own log file, stands all that Snakemake says.
"""

import os
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from logging import WARNING, LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

CHATTER = (
    *("Assuming unrestricted shared", "Building DAG", "Using shell", "Conda environments: ignored"),
    *("Singularity containers: ignored", "Group jobs: inactive", "Select jobs", "Execute ", "Shutting down"),
    *(
        "RuleException:\nCalledProcessError",
        "Exiting because a job",
        "WorkflowError:\nAt least one job did not complete",
    ),
)
"""How messages begin that tell a reader nothing, or nothing more."""
REFUSED = ("PermissionError", "OSError", "FileNotFoundError", "NotADirectoryError")
"""Errors of the system, of which the last line says all; it is Snakemake that may not write."""
HINTS = {
    "/.snakemake": "Snakemake's notes lie in the folder that it is called from: call it from another, with --snakefile",
    "cache": "Snakemake's caches lie below $XDG_CACHE_HOME, else $HOME/.cache: have it name a folder to write to",
}
FOLDERS, FILES, LINES = 12, 6, 15
"""Of what was made, the folders listed, and the files of each; of a failed job's log, the last lines shown."""
RED, YELLOW, CLEAR = 31, 33, "\r\x1b[2K"


class LogHandler(LogHandlerBase):
    """Writes to standard error (--stdout: standard output)."""

    writes_to_stream = True
    writes_to_file = has_filter = has_formatter = needs_rulegraph = False

    def __post_init__(self) -> None:
        """Begin with no job known."""
        asked = self.common_settings
        self.stream = sys.stdout if asked.stdout else sys.stderr
        self.terminal = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.coloured = self.terminal and not asked.nocolor and "NO_COLOR" not in os.environ
        self.whole = None
        if asked.verbose or asked.debug_dag or asked.printshellcmds or asked.dryrun:
            from snakemake.logging import ColorizingTextHandler

            self.whole = ColorizingTextHandler(asked.nocolor, self.stream)
        self.began = time.time()
        self.jobs: dict[int, LogRecord] = {}
        self.started: dict[int, float] = {}  # of those that run
        self.planned, self.finished, self.seconds = Counter(), Counter(), defaultdict(float)  # by rule
        self.failed, self.done, self.total = 0, [], 0
        self.log = ""
        self.ended = threading.Event()

    def emit(self, record: LogRecord) -> None:
        """Say what `record` tells, if anything."""
        try:
            if self.whole is not None:
                self.whole.setFormatter(self.formatter)
                self.whole.handle(record)
                return
            event = getattr(record, "event", None)
            if event is None or event == LogEvent.ERROR:
                self.message(record)
            elif tell := getattr(self, f"on_{event}", None):
                tell(record)
        except Exception:
            self.handleError(record)

    def message(self, record: LogRecord) -> None:
        """Pass on what is no event; at the run's last message, say what was made."""
        text = str(record.getMessage()) if record.msg is not None else ""
        if text.startswith("Complete log(s): "):
            self.log = text.partition(": ")[2]
        elif text.startswith("Elapsed time: "):
            self.end()
        elif getattr(record, "exception", None) in REFUSED:
            *_, last = text.strip().splitlines()
            hints = [hint for part, hint in HINTS.items() if part in last]
            self.write("; ".join([f"error: {last}", *hints]), RED)
        elif text.strip() and not text.startswith(CHATTER):
            colour = RED if record.levelno > WARNING else YELLOW if record.levelno == WARNING else None
            self.write(text.strip("\n"), colour)

    def on_run_info(self, record: LogRecord) -> None:
        """Say what is to be done."""
        self.planned = Counter(record.stats)
        self.total = self.planned.pop("total", sum(self.planned.values()))
        several = [f"{rule} {n}" for rule, n in self.planned.most_common(5) if n > 1]
        self.write(f"jobs to do: {self.total}{' (' * bool(several)}{', '.join(several)}{', …)' * bool(several)}")
        if self.terminal:
            threading.Thread(target=self.keep_drawing, daemon=True).start()

    def on_job_info(self, record: LogRecord) -> None:
        """Note a job that starts (on a cluster: is submitted)."""
        self.jobs[record.jobid], self.started[record.jobid] = record, record.created

    def on_job_finished(self, record: LogRecord) -> None:
        """Say that a job is done, and how long it took."""
        if (job := self.jobs.get(record.job_id)) is None:
            return
        seconds = record.created - self.started.pop(record.job_id, record.created)
        self.done.append(job)
        self.finished[job.rule_name] += 1
        self.seconds[job.rule_name] += seconds
        self.total = max(self.total, len(self.done))
        place = f"[{len(self.done):>{len(str(self.total))}}/{self.total}]"
        left = "" if self.terminal else self.time_left(record.created)
        self.write(f"{place} {name(job)}, {spoken(seconds)}{left and f' ({left})'}")

    def on_job_error(self, record: LogRecord) -> None:
        """Say that a job failed, and the end of its log; of one of a group, whose error came first, the last line."""
        self.started.pop(record.jobid, None)
        self.failed += 1
        said = [f"failed: {name(record)}"]
        if record.rule_msg:
            said.append(f"  {record.rule_msg}")
        said += [line for log in record.log for line in tail(log, 1 if record.indent else LINES)]
        self.write("\n".join(said), RED)

    def on_group_error(self, record: LogRecord) -> None:
        """Say that jobs that ran as one failed; those follow."""
        logs = [line for log in record.aux_logs for line in tail(log, LINES)]
        self.write("\n".join([f"failed: group {record.groupid}", *logs]), RED)

    def end(self) -> None:
        """Say what was made, pages first, and how long it took; or that something failed."""
        self.ended.set()
        took = spoken(time.time() - self.began)
        if self.failed:
            self.write(
                f"{len(self.done)} of {self.total} jobs done in {took}, {self.failed} failed; all in {self.log}", RED
            )
            return
        said = [f"made in {took}:"]
        folders = defaultdict(list)
        for path in made(self.done):
            if path.endswith(".html"):
                said.append(f"  {path}")
            else:
                folders[str(Path(path).parent)].append(Path(path).name)
        for folder, names in list(folders.items())[:FOLDERS]:
            more = f" and {len(names) - FILES} more" if len(names) > FILES else ""
            said.append(f"  {folder}/: {', '.join(names[:FILES])}{more}")
        if len(folders) > FOLDERS:
            said.append(f"  and more in {len(folders) - FOLDERS} other folders")
        self.write("\n".join(said))

    def time_left(self, now: float) -> str:
        """Return how long what is left may take: a job as long as its rule's so far, of other rules as the shortest."""
        if not self.finished:
            return ""
        means = {rule: self.seconds[rule] / count for rule, count in self.finished.items()}
        shortest = min(means.values())
        left = sum(means.get(rule, shortest) * (n - self.finished[rule]) for rule, n in self.planned.items())
        running = {job: now - since for job, since in self.started.items()}
        left -= sum(min(s, means.get(self.jobs[job].rule_name, shortest)) for job, s in running.items())
        abreast = (sum(self.seconds.values()) + sum(running.values())) / max(now - self.began, 1e-3)
        return f"about {spoken(left / max(abreast, 0.1))} left" if left > 0 else ""

    def write(self, text: str, colour: int | None = None) -> None:
        """Write lines, above the bar where there is one."""
        if colour and self.coloured:
            text = f"\x1b[{colour}m{text}\x1b[0m"
        self.stream.write(f"{CLEAR if self.terminal else ''}{text}\n")
        self.draw()
        self.stream.flush()

    def draw(self) -> None:
        """Draw the bar, on a terminal, while jobs run."""
        if not self.terminal or not self.total or self.ended.is_set():
            return
        filled = 24 * len(self.done) // self.total
        rules = Counter(self.jobs[job].rule_name for job in self.started)
        running = ", ".join(f"{rule} {n}" if n > 1 else rule for rule, n in rules.items())
        parts = [f"{len(self.done)} of {self.total} jobs", self.time_left(time.time()), running and f"now: {running}"]
        text = f"[{'=' * filled}{' ' * (24 - filled)}] {'; '.join(filter(None, parts))}"
        # The cursor goes back: what a job prints itself begins a line.
        self.stream.write(f"{CLEAR}{text[: shutil.get_terminal_size().columns - 1]}\r")

    def keep_drawing(self) -> None:
        """Draw the bar each second, until the end."""
        while not self.ended.wait(1):
            with self.lock:
                self.draw()
                self.stream.flush()

    def close(self) -> None:
        """Remove the bar."""
        if self.terminal and self.total and not self.ended.is_set():
            self.ended.set()
            self.stream.write(CLEAR)
            self.stream.flush()
        super().close()


def name(job: LogRecord) -> str:
    """Return what a job is called: its rule and its first output, which can be asked for."""
    return f"{job.rule_name} {job.output[0]}" if job.output else job.rule_name


def made(jobs: list[LogRecord]) -> list[str]:
    """Return what `jobs` made that no other of them took, or that was asked for: the inputs of one without outputs."""
    asked = {path for job in jobs if not job.output for path in job.input}
    used = {path for job in jobs if job.output for path in job.input}
    return [path for job in jobs for path in job.output if path in asked or not used.intersection(job.output)]


def tail(path: str, lines: int) -> list[str]:
    """Return the path of a log and its last lines, indented."""
    try:
        last = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return [f"  {path}: there is none"]
    return [f"  {path}:", *(f"    {line}" for line in last)]


def spoken(seconds: float) -> str:
    """Return seconds for people: 0.4 s, 35 s, 12.3 min, 3.4 h, 2.1 d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
