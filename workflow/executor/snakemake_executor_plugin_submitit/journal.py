"""What was submitted, kept on disk: a head process that died is followed by one that finds its jobs again."""

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A job submitted to `cluster`: `key` says what it makes and how, `folder` is submitit's, `log` its attempts'.

    `held` is what a cluster of our own gave it (cores, GPUs); `cancelled`: it was told to stop, and may be about to;
    `where` is SLURM's name of the cluster, where that is not the default one.
    """

    cluster: str
    key: str
    job_id: str
    folder: str
    log: str
    outputs: tuple[str, ...] = ()
    held: dict = field(default_factory=dict)
    cancelled: bool = False
    where: str = ""

    @property
    def name(self) -> str:
        """What tells the job from others: two of SLURM's clusters number theirs alike."""
        return name_of(self.job_id, self.where)


def name_of(job_id: str, where: str) -> str:
    """Return what tells a job from others: its id, and SLURM's cluster where that is not the default one."""
    return f"{job_id}@{where}" if where else job_id


class Journal:
    """Lines of JSON in one file: an entry a submission, and a line when a job was told to stop or seen to end."""

    def __init__(self, path: Path):
        """Open the journal at `path`; there may be none yet."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def open_entries(self) -> list[Entry]:
        """Return the submissions that were not seen to end, in order; torn lines are passed over."""
        found: dict[tuple[str, str], Entry] = {}  # local ids are process numbers, and come again
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                fields = json.loads(line)
                if "key" in fields:
                    entry = Entry(**(fields | {"outputs": tuple(fields["outputs"])}))
                    found[entry.cluster, entry.name] = entry
                elif "ended" in fields:
                    found.pop((fields["cluster"], fields["ended"]), None)
                elif (name := (fields["cluster"], fields["cancelled"])) in found:
                    found[name] = replace(found[name], cancelled=True)
            except (ValueError, TypeError, KeyError):
                continue
        return list(found.values())

    def note(self, what: str, entries: list[Entry]) -> None:
        """Note that jobs were "submitted", told to stop ("cancelled") or seen to end ("ended")."""
        lines = [asdict(e) if what == "submitted" else {"cluster": e.cluster, what: e.name} for e in entries]
        with self._alone(), self.path.open("a", encoding="utf-8") as file:
            file.write(_text(lines))

    def compact(self) -> None:
        """Drop what is said of jobs that have ended."""
        beside = self.path.with_suffix(".new")
        with self._alone():
            beside.write_text(_text([asdict(entry) for entry in self.open_entries()]), encoding="utf-8")
            beside.replace(self.path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other heads (there may be some, with --nolock) from writing, where the file system can."""
        with self.path.with_suffix(".lock").open("w") as lock:
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _text(lines: list[dict]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)
