"""Log lines and progress: on the terminal, or, under Snakemake, in the rule's log, warnings on the terminal too."""

import logging
import os
import sys
import time
from pathlib import Path

logger = logging.getLogger("pagoda")


def start_log(path: Path | None) -> None:
    """Send log lines to standard error, or to a new file at `path`, warnings and errors then to both.

    Of a training's processes all write to the end of the file; those after the first, warnings alone.
    """
    first = not one_of_several() or os.environ["RANK"] == "0"
    logger.setLevel(logging.INFO if first else logging.WARNING)
    logger.propagate = False
    while logger.handlers:
        logger.handlers.pop().close()
    terminal = logging.StreamHandler(sys.stderr)
    logger.addHandler(terminal)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if first:
            path.write_bytes(b"")
        logger.addHandler(logging.FileHandler(path, mode="a", encoding="utf-8"))
        terminal.setLevel(logging.WARNING)
    for handler in logger.handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))


def one_of_several() -> bool:
    """Tell whether torchrun or workflow/on_nodes.sh started this process, as one of a group."""
    return "RANK" in os.environ and not {"TORCHELASTIC_RUN_ID", "PAGODA_GROUP"}.isdisjoint(os.environ)


class Progress:
    """Counts work done. On a terminal it is a tqdm bar; elsewhere a line now and then: at each
    tenth of the work and each note (but 5 s apart), and at least every 2 minutes.

    Args:
        label: what is being done, e.g. "certify gaussian-0.5".
        total: how much there is to do.
        unit: what is counted, e.g. "images".
        done: how much was done before (by an interrupted run).

    """

    def __init__(self, label: str, total: int, unit: str, done: int = 0):
        """See the class."""
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._began = self._spoke = time.monotonic()
        self._first = self._spoken = done
        self._bar = None
        # Where log lines go to a terminal, and to nothing else.
        if len(logger.handlers) == 1 and sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
            from tqdm import tqdm

            self._bar = tqdm(desc=label, total=total, unit=f" {unit}", initial=done, dynamic_ncols=True)

    def advance(self, note: str = "") -> None:
        """Count one more unit as done, with a short note on how it goes, e.g. "loss 1.23"."""
        self.done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update()
            if self.done >= self.total:
                self._bar.close()
            return
        now = time.monotonic()
        silent = now - self._spoke
        due = note or (self.done - self._spoken) * 10 >= self.total
        if (due and silent >= 5) or silent >= 120 or self.done >= self.total:
            rate = (self.done - self._first) / max(now - self._began, 1e-9)
            logger.info(
                "%s: %d of %d %s, %.3g %s/s%s",
                *(self.label, self.done, self.total, self.unit, rate, self.unit, note and f", {note}"),
            )
            self._spoke, self._spoken = now, self.done
