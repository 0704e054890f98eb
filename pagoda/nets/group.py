"""The processes of one training: who they are, what they add up, and how they end together.

A process that torchrun started finds the others by the environment: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR,
MASTER_PORT. Any other process is alone, a group of one, for which nothing here talks to anyone.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from pagoda.errors import BadInput
from pagoda.log import logger, under_torchrun

PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal that a process gets when its parent ends."""


class Lost(Exception):  # noqa: N818 - what is lost is another process
    """Another process of the group has ended."""


@dataclass(frozen=True)
class Group:
    """`of` processes that train one network; this one is number `rank`, 0 ... of - 1.

    What the methods do is done by all of them, in the same order. They raise Lost where another has ended.
    """

    rank: int = 0
    of: int = 1

    @property
    def leads(self) -> bool:
        """Tell whether this process writes the files and speaks for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """Add up `values` over the processes, in place: all get the same bits."""
        if self.of > 1:
            with _reaching_others():
                dist.all_reduce(values)
        return values

    def largest(self, *values: int) -> list[int]:
        """Return the largest of each value over the processes."""
        if self.of == 1:
            return list(values)
        told = torch.tensor(values)
        with _reaching_others():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return told.tolist()


@contextmanager
def joined() -> Iterator[Group]:
    """Be in the group of processes that torchrun started, each on a GPU of its own where there are GPUs.

    They end together, and only the first that fails says why: the others leave with its exit status.

    Raises:
        BadInput: for more processes on a node than GPUs.

    """
    if not under_torchrun():
        yield Group()
        return
    end_with_parent()
    rank, of, local = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    backend = "gloo"
    if torch.cuda.is_available():
        check_gpus(int(os.environ["LOCAL_WORLD_SIZE"]))
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    store, _, _ = next(dist.rendezvous("env://", rank, of))
    try:
        dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=rank, world_size=of)
        yield Group(rank, of)
        dist.destroy_process_group()
    except BaseException as error:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun ends the others now, but this one is on its way out
        status = _status_of(error)
        if (first := _first_status(store, status)) is not None:
            sys.exit(first)
        if isinstance(error, Lost):
            logger.error("a process of this training has ended; the same command goes on from the last checkpoint")
            sys.exit(status)
        raise


def check_gpus(processes: int) -> None:
    """Raise BadInput where a node is to run more processes than GPUs are visible; one runs without a GPU, too."""
    visible = torch.cuda.device_count()
    if processes > max(visible, 1):
        raise BadInput(
            f"gpus is {processes}, but {visible} are visible on this machine: ask for no more than there are"
        )


def end_with_parent() -> None:
    """Have Linux tell this process to stop when its parent ends, however that ends; elsewhere, do nothing."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _reaching_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo, of NCCL, of the store
        raise Lost(str(error)) from None


def _status_of(error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 2 if isinstance(error, BadInput) else 130 if isinstance(error, KeyboardInterrupt) else 1


def _first_status(store: dist.Store, status: int) -> int | None:
    """Return the exit status of the process that failed first, or None where that is this one."""
    try:
        store.set_timeout(timedelta(seconds=10))
        if store.add("failed", 1) == 1:
            store.set("status", str(status))
            return None
        return int(store.get("status"))
    except RuntimeError:  # the store has gone with the process that kept it
        return status
