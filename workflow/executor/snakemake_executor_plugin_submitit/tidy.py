"""What grows with every run, and goes: what was submitted, when it has ended; logs, when they are old."""

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Sequence
from pathlib import Path

from snakemake_executor_plugin_submitit.ending import outputs_of
from snakemake_executor_plugin_submitit.journal import Entry
from snakemake_executor_plugin_submitit.node import exit_file


def remove_files(entries: Sequence[Entry]) -> None:
    """Remove what submitit left of jobs that have ended."""
    for entry in entries:
        with contextlib.suppress(OSError):
            pickles = Path(entry.folder).glob(f"{entry.job_id}_*.pkl")
            for path in [*pickles, *outputs_of(entry), exit_file(entry.folder, entry.job_id)]:
                path.unlink(missing_ok=True)


def remove_old(root: Path, days: int, open_folders: Collection[str]) -> None:
    """Remove logs and submissions below `root` that nobody wrote to for `days`, but for those in `open_folders`."""
    if days <= 0:
        return
    before = time.time() - 86400 * days
    for place, _, names in os.walk(root / "logs", topdown=False):
        for name in names:
            with contextlib.suppress(OSError):
                if (path := Path(place, name)).stat().st_mtime < before:
                    path.unlink()
        _remove_if_empty(Path(place), before)
    for folder in [*root.glob("jobs/*/*/"), *root.glob("jobs/*/")]:  # `local` has none for each submission
        with contextlib.suppress(OSError):
            paths = [folder, *folder.iterdir()]
            is_open = str(folder.absolute()) in open_folders or any(path.is_dir() for path in paths[1:])
            if not is_open and max(path.stat().st_mtime for path in paths) < before:
                shutil.rmtree(folder)


def _remove_if_empty(folder: Path, before: float) -> None:
    """Remove an old folder, if there is nothing in it; a young one may be about to be written to."""
    with contextlib.suppress(OSError):
        if folder.stat().st_mtime < before:
            folder.rmdir()
