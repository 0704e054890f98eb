"""Checkpoints of a training that may be interrupted at any moment: two files in turn, each with its own checksum.

A checkpoint is written beside the one before it. One that an interruption tore (a partial write, a bad disk) fails
its checksum, and the one before it is used.
"""

import hashlib
import io
from pathlib import Path

import torch

from pagoda.files import write_bytes
from pagoda.log import logger

MAGIC = b"pagoda-checkpoint-1\n"


class Checkpoints:
    """The two checkpoint files of one training, kept in `folder` under a name that `identity` gives.

    Another config has another identity, so that its checkpoints are never taken for this one's.
    """

    def __init__(self, folder: Path, identity: str):
        """Keep the checkpoints of the training `identity` (a short hash of all that decides its outcome)."""
        self.folder, self.identity = Path(folder), identity
        self._paths = [self.folder / f"{identity}-{turn}.checkpoint" for turn in "ab"]
        self._next = 0

    def load(self) -> dict | None:
        """Return the newest state whose checksum holds, or None."""
        found = [(state["progress"], turn, state) for turn, path in enumerate(self._paths) if (state := _read(path))]
        if not found:
            return None
        _, turn, state = max(found, key=lambda entry: entry[0])
        self._next = 1 - turn
        return state

    def save(self, state: dict) -> None:
        """Write `state`, whose "progress" grows from one checkpoint to the next, in place of the older of the two."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        write_bytes(self._paths[self._next], MAGIC + hashlib.sha256(content).digest() + content)
        self._next = 1 - self._next

    def keep_newest(self) -> None:
        """Remove all checkpoints of this folder but the newest: the training is done."""
        newest = self._paths[1 - self._next]
        for path in self.folder.glob("*.checkpoint"):
            if path != newest:
                path.unlink()


def _read(path: Path) -> dict | None:
    if not path.is_file():
        return None
    raw = path.read_bytes()
    content = raw[len(MAGIC) + 32 :]
    if raw[: len(MAGIC)] != MAGIC or raw[len(MAGIC) : len(MAGIC) + 32] != hashlib.sha256(content).digest():
        logger.warning("checkpoint %s is torn: not used", path)
        return None
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
