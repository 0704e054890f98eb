"""The processes of one training: who they are and what they tell each other.

torchrun or srun starts them, one for each GPU, say. Any other process is alone, a group of one, for which nothing here
talks to anyone.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from pagoda.errors import BadInput
from pagoda.log import one_of_several


@dataclass(frozen=True)
class Group:
    """`of` processes that train one network; this one is number `rank`, 0 ... of - 1.

    What the methods do is done by all of them, in the same order.
    """

    rank: int = 0
    of: int = 1

    @property
    def leads(self) -> bool:
        """Tell whether this process writes the files and speaks for all."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Its rows of a batch: every `of`-th, so that it has its share of each part of `of` rows too."""
        return slice(self.rank, None, self.of)

    def sum(self, values: Tensor) -> Tensor:
        """Add up `values` over the processes, in place: all get the same bits."""
        if self.of > 1:
            dist.all_reduce(values)
        return values

    def largest(self, value: int) -> int:
        """Return the largest of the processes' values."""
        found = torch.tensor(value)
        if self.of > 1:
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return int(found)

    def of_the_first(self, value: Any) -> Any:
        """Return the `value` that the first process has; those of the others do not matter."""
        values = [value]
        if self.of > 1:
            dist.broadcast_object_list(values, device=torch.device("cpu"))
        return values[0]


ALONE = Group()


@contextmanager
def joined() -> Iterator[Group]:
    """Be in the group of processes that were started together, each on a GPU of its own where there are GPUs.

    Where one fails, all end, and only the first that failed says why.

    Raises:
        BadInput: for more processes on a node than GPUs, or where another process has ended.

    """
    if not one_of_several():
        yield ALONE
        return
    store, rank, of = next(dist.rendezvous("env://"))
    try:
        backend = "gloo"
        if torch.cuda.is_available():
            number, visible = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
            if number >= visible:
                raise BadInput(f"more processes than GPUs: {visible} are visible on this machine, one for each process")
            torch.cuda.set_device(number)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, store=dist.PrefixStore("group", store), rank=rank, world_size=of)
        yield Group(rank, of)
        dist.destroy_process_group()
    except Exception as error:
        ended = BadInput("a process of this training has ended; the same command goes on from its checkpoint")
        try:
            others = store.add("failed", 1) - 1
        except dist.DistError:  # the first process kept it
            raise ended from None
        if others:
            sys.exit(1)
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise ended from None
        raise
