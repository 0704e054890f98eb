"""sbatch, called by ourselves: submitit's pickles and array script, a clean environment, an answer read with care."""

import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import submitit
from submitit.core.utils import DelayedSubmission, JobPaths

from snakemake_executor_plugin_submitit.clusters import NEVER, Refused
from snakemake_executor_plugin_submitit.node import Command, deaf_to_the_terminal

SCRIPT = "submission.sh"
START = "import sys; sys.modules['numpy'] = None; from submitit.core.submission import submitit_main as main; main()"
"""What runs on the node: submitit without NumPy, which it would import where there is one, for nothing here."""
SECONDS = 300
"""After which an sbatch that does not answer is ended."""
TRANSIENT = (
    *("Socket timed out", "Unable to contact slurm controller", "temporarily unable", "Connection refused"),
    *("Resource temporarily unavailable", "Communication connection failure", "Zero Bytes were transmitted"),
    *("Unexpected message received", "Transport endpoint is not connected"),
)
"""What sbatch says when it may take the same job a little later; or SLURM has it, and the answer got lost."""
LIMITS = ("MaxSubmitJob", "GrpSubmitJobs", "MaxJobs", "Job violates accounting/QOS policy")
"""What it says when there are too many jobs for now; an array counts as its tasks."""


class Sbatch(submitit.SlurmExecutor):
    """submitit's SLURM executor, one for each submission, in a folder of its own.

    Numbers of jobs of two clusters may be the same; folders, and the script that squeue shows, are not.
    """

    def __init__(self, folder: Path, max_timeouts: int):
        """Write pickles and the script to `folder`, which the nodes see too; a job is requeued `max_timeouts` times."""
        super().__init__(folder, max_num_timeout=max_timeouts, python=f"exec {shlex.quote(sys.executable)}")

    def send(
        self, name: str, options: Mapping[str, Any], commands: Sequence[Command], at_once: int, environment: dict
    ) -> tuple[list[str], str]:
        """Submit commands as one array, of which `at_once` run; return the ids and the cluster ("": the default).

        They wait for `let_begin`.

        `options` are sbatch's, by long name. Raises Refused.
        """
        self.update_parameters(
            time=options["time"], job_name=name, array_parallelism=at_once, additional_parameters=dict(options),
            nodes=None, wckey=None, use_srun=False, stderr_to_stdout=True,
        )  # fmt: skip
        self.folder.mkdir(parents=True)
        for number, command in enumerate(commands):
            delayed = DelayedSubmission(command)
            delayed.set_timeout(options["time"], self.max_num_timeout)
            delayed.dump(self.folder / f"{number}.pkl")
        if len(commands) > 1:
            self.parameters["map_count"] = len(commands)
        script = self.folder / SCRIPT
        command = shlex.join(["-u", "-c", START, str(self.folder)])
        lines = self._make_submission_file_text(f"{self.python} {command}", "").splitlines(keepends=True)
        if "signal" not in options:  # submitit's own would reach the steps, too
            lines = [line for line in lines if not line.startswith("#SBATCH --signal=")]
        script.write_text("".join(lines), encoding="utf-8")
        job_id, cluster = _call(script, environment)
        return ids_of(job_id, len(commands)), cluster


def ids_of(job_id: str, tasks: int) -> list[str]:
    """Return the ids of a submission's tasks; one alone is no array."""
    return [f"{job_id}_{task}" for task in range(tasks)] if tasks > 1 else [job_id]


def let_begin(folder: Path, job_id: str) -> None:
    """Give the pickle of a task the name by which SLURM's job looks for it, for a minute from its start."""
    (folder / f"{job_id.partition('_')[2] or 0}.pkl").rename(JobPaths(folder, job_id).submitted_pickle)


def _call(script: Path, environment: dict[str, str]) -> tuple[str, str]:
    try:
        with deaf_to_the_terminal():
            done = subprocess.run(
                ["sbatch", "--parsable", str(script)], env=environment, stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=SECONDS,
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refused(f"sbatch did not answer in {SECONDS} s", later=True, unsure=True) from None
    except OSError as error:
        raise Refused(f"sbatch: {error.strerror}", later=True) from None
    if done.returncode:
        raise refusal(done.stderr or done.stdout, done.returncode)
    if (answer := read_answer(done.stdout)) is None:
        raise Refused(f"sbatch printed no job's number but {done.stdout.strip()!r}", later=True, unsure=True)
    return answer


def read_answer(printed: str) -> tuple[str, str] | None:
    """Read the last line of what sbatch printed, "id" or "id;cluster", or without --parsable; None: it is neither."""
    lines = printed.strip().splitlines()
    found = (
        re.fullmatch(r"(?:Submitted batch job )?(\d+)(?:(?:;| on cluster )(\S+))?", lines[-1].strip())
        if lines
        else None
    )
    return (found[1], found[2] or "") if found else None


def refusal(complaint: str, status: int = 1) -> Refused:
    """Tell a limit that is reached now from one that this job would reach for ever, and both from an outage.

    An sbatch that was killed (its exit status is negative), or says nothing, may have reached SLURM before.
    """
    reason = " ".join(complaint.split())[-400:] or f"sbatch ended with status {status} and said nothing"
    transient = status < 0 or not complaint.strip() or any(said in reason for said in TRANSIENT)
    too_many = any(said in reason for said in LIMITS) and not NEVER.search(reason)
    return Refused(reason, later=transient, too_many=too_many, unsure=transient)
