"""Log lines: to the terminal, or, under Snakemake, to the rule's log file with errors on the terminal too."""

import logging
import os
import sys
from pathlib import Path

logger = logging.getLogger("pagoda")


def start_log(path: Path | None) -> None:
    """Send log lines to standard error, or to a new file at `path`, errors then to both.

    Of the processes that torchrun started, all write to the end of the file; those after the first, warnings alone.
    """
    logger.setLevel(logging.WARNING if under_torchrun() and os.environ["RANK"] != "0" else logging.INFO)
    logger.propagate = False
    while logger.handlers:
        old = logger.handlers.pop()
        old.close()
    terminal = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [terminal]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="a" if under_torchrun() else "w", encoding="utf-8"))
        terminal.setLevel(logging.ERROR)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logger.addHandler(handler)


def log_file() -> Path | None:
    """Return the file that log lines go to, or None."""
    found = [Path(handler.baseFilename) for handler in logger.handlers if isinstance(handler, logging.FileHandler)]
    return found[0] if found else None


def under_torchrun() -> bool:
    """Tell whether torchrun started this process, as one of a group."""
    return "TORCHELASTIC_RUN_ID" in os.environ and "RANK" in os.environ


def bar_wanted() -> bool:
    """Tell whether a moving progress bar is of use: log lines go to a terminal, and to nothing else."""
    return len(logger.handlers) == 1 and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO)
