"""Memory: how much there is, and what a step does when it does not suffice: half as much at once, and it says so."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from pagoda.errors import BadInput
from pagoda.log import logger

Result = TypeVar("Result")
SIGNS = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")
"""In messages of CUDA, of PyTorch's CPU allocator on Windows and Linux, of cuBLAS and cuDNN."""


def machine_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may take: the machine's, or its control group's limit (cgroup v2).

    `root` is the folder that holds proc and sys.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    groups = root / "sys" / "fs" / "cgroup"
    with contextlib.suppress(OSError):
        for line in (root / "proc" / "self" / "cgroup").read_text().splitlines():
            number, _, name = line.split(":", 2)
            group = groups / name.lstrip("/")
            for folder in (group, *group.parents) if number == "0" else ():
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                    limits.append(int((folder / "memory.max").read_text()))
    return min(limits)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory of the GPU or of the machine did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)


class MicroBatch:
    """How many pictures a step takes at once: `size`, halved each time that memory does not suffice for them."""

    def __init__(self, label: str, size: int):
        """Begin with `size`, >= 1; `label` names the step in log lines and errors."""
        self.label, self.size = label, size

    def run(self, work: Callable[[int], Result]) -> Result:
        """Return work(size), called again with half the size as often as it runs out of memory.

        Args:
            work: a function of how many pictures to take at once, which may be begun anew.

        Raises:
            BadInput: where memory does not suffice for one picture.

        """
        while True:
            try:
                return work(self.size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                said = (str(error).splitlines() or ["out of memory"])[0]
            # The error is gone here, and with it the tensors that its traceback held.
            if self.size == 1:
                raise BadInput(f"{self.label}: memory does not suffice for one picture at once ({said})")
            old, self.size = self.size, self.size // 2
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            logger.warning(
                "%s: out of memory with %d pictures at once: goes on with %d (speed and memory only)",
                *(self.label, old, self.size),
            )


def in_parts(base: Callable[[Tensor], Tensor], micro: MicroBatch) -> Callable[[Tensor], Tensor]:
    """Return a classifier, [B, C, H, W] -> [B, classes], as one that takes at most `micro.size` pictures at once.

    It takes two at least: a matrix product of one row is rounded in another way, and no part is to change a logit.
    """

    def part(x: Tensor) -> Tensor:
        return base(x if len(x) > 1 else x.expand(2, -1, -1, -1))[: len(x)]

    return lambda x: micro.run(lambda size: torch.cat([part(some) for some in x.split(size)]))
