"""What was submitted, kept on disk: a head process that died is followed by one that finds its jobs again."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A job submitted to `cluster`: `key` says what it makes and how, `folder` is submitit's, `log` its attempts'.

    `held` is what a cluster of our own gave it (cores, GPUs); `cancelled`: it was told to stop, and may be about to.
    """

    cluster: str
    key: str
    job_id: str
    folder: str
    log: str
    outputs: tuple[str, ...] = ()
    held: dict = field(default_factory=dict)
    cancelled: bool = False


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
                    found[entry.cluster, entry.job_id] = entry
                elif "ended" in fields:
                    found.pop((fields["cluster"], fields["ended"]), None)
                elif (name := (fields["cluster"], fields["cancelled"])) in found:
                    found[name] = replace(found[name], cancelled=True)
            except (ValueError, TypeError, KeyError):
                continue
        return list(found.values())

    def note(self, what: str, entries: list[Entry]) -> None:
        """Note that jobs were "submitted", told to stop ("cancelled") or seen to end ("ended")."""
        lines = [asdict(e) if what == "submitted" else {"cluster": e.cluster, what: e.job_id} for e in entries]
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))


def job_key(name: str, outputs: list[str], commands: list[str]) -> str:
    """Return a hash of what a job makes and of the commands that make it."""
    return hashlib.sha256(json.dumps([name, sorted(outputs), sorted(commands)]).encode()).hexdigest()[:24]
