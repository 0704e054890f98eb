"""Some training steps in a process of a group: python -m tests.nets.steps_in_group OUT; the first process writes it."""

import sys

import torch

from pagoda.nets.group import joined
from tests.nets.test_training import OBJECTIVES, small_training, take_steps

if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as group:
        states = {objective: take_steps(small_training(objective, group=group)) for objective in OBJECTIVES}
        states["parts"] = take_steps(small_training("gaussian", micro_batch=6, group=group))
        if group.leads:
            torch.save(states, sys.argv[1])
