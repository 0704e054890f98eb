"""What was submitted, kept on disk: a head process that died is followed by one that finds its jobs again."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A job submitted to `cluster`: `key` says what it makes and how, `folder` is submitit's, `log` its attempts'."""

    cluster: str
    key: str
    job_id: str
    folder: str
    log: str


class Journal:
    """Lines of JSON in one file: an entry a submission, and a line {"ended": job id} when a job was seen to end."""

    def __init__(self, path: Path):
        """Open the journal at `path`; there may be none yet."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def open_entries(self) -> dict[str, Entry]:
        """Return the last entry for each key, without those that were seen to end; torn lines are passed over."""
        found: dict[str, Entry] = {}
        ended: set[str] = set()
        lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if self.path.is_file() else []
        for line in lines:
            try:
                fields = json.loads(line)
                if "ended" in fields:
                    ended.add(fields["ended"])
                else:
                    entry = Entry(**fields)
                    found[entry.key] = entry
            except (ValueError, TypeError):
                continue
        return {key: entry for key, entry in found.items() if entry.job_id not in ended}

    def submitted(self, entries: list[Entry]) -> None:
        """Note submissions."""
        self._append([asdict(entry) for entry in entries])

    def ended(self, job_id: str) -> None:
        """Note that a job was seen to end."""
        self._append([{"ended": job_id}])

    def _append(self, lines: list[dict]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))


def job_key(name: str, outputs: list[str], commands: list[str]) -> str:
    """Return a hash of what a job makes and of the commands that make it."""
    return hashlib.sha256(json.dumps([name, sorted(outputs), commands]).encode()).hexdigest()[:24]
