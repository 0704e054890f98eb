"""Log lines: to the terminal, or, under Snakemake, to the rule's log file with errors on the terminal too."""

import logging
import sys
from pathlib import Path

logger = logging.getLogger("pagoda")


def start_log(path: Path | None) -> None:
    """Send log lines to standard error, or to a new file at `path`, errors then to both."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    while logger.handlers:
        old = logger.handlers.pop()
        old.close()
    terminal = logging.StreamHandler(sys.stderr)
    handlers: list[logging.Handler] = [terminal]
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
        terminal.setLevel(logging.ERROR)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))
        logger.addHandler(handler)


def bar_wanted() -> bool:
    """Tell whether a moving progress bar is of use: log lines go to a terminal, and to nothing else."""
    return len(logger.handlers) == 1 and sys.stderr.isatty()
