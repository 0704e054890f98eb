"""Files that are either whole or not there: written beside their place, then renamed."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pagoda.errors import BadInput


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed to disk and takes the place of `path`.

    On any error the new file is removed and the one that stood there before stays.

    Raises:
        BadInput: where the system refuses to write (disk full, no permission, ...), with its reason.

    """
    path = Path(path)
    # Keeps the suffix, which NumPy and Matplotlib read.
    beside = path.with_name(f".{path.stem}.{os.getpid()}.new{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with beside.open("rb") as written:
            os.fsync(written.fileno())
        beside.replace(path)
    except OSError as error:
        raise BadInput(
            f"cannot write {path}: {error.strerror or error} (what stood there before is unchanged)"
        ) from None
    finally:
        with suppress(OSError):
            beside.unlink()


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all. Raises BadInput as `replacing` does."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` in UTF-8, whole or not at all. Raises BadInput as `replacing` does."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: object) -> None:
    """Write `content` to `path` in JSON, whole or not at all. Raises BadInput as `replacing` does."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def file_hash(path: Path) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 digest of a file's content."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
