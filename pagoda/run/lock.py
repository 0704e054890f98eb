"""One writer at a time for work that goes on over many runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from pagoda.errors import BadInput


@contextmanager
def sole_writer(path: Path) -> Iterator[None]:
    """Hold the right to make `path`: a lock that the system drops when the process ends, however it ends.

    Snakemake's own lock does not cover a step that goes on after Snakemake was killed. The empty lock file beside
    `path` stays: were it removed, one process could lock the removed file and another a new one of its name.

    Raises:
        BadInput: while another process makes `path`.

    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        held = FileLock(path.with_name(f".{path.name}.lock"), blocking=False).acquire()
    except Timeout:
        raise BadInput(
            f"another process is making {path}, perhaps one that went on after its Snakemake was killed: wait for "
            "it or stop it, then run again"
        ) from None
    with held:
        yield
