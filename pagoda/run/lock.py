"""One writer at a time for work that goes on over many runs."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pagoda.errors import BadInput


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to make `path`: a lock that the system drops when the process ends, however it ends.

    Snakemake's own lock does not cover a step that goes on after Snakemake was killed.

    Raises:
        BadInput: while another process makes `path`.

    """
    lock = path.with_name(f".{path.name}.lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"another process is making {path}, perhaps one that went on after its Snakemake was killed: wait for "
                "it or stop it, then run again"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
