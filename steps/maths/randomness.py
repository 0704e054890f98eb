"""Randomness by key: every draw is a function of what it is for, never of what was drawn before it.

A generator made from (seed, what, which, ...) gives the same draws whatever the batch size, the shard or the
number of interruptions, and nothing about random state has to be stored.
"""

import hashlib

import torch


def generator(device: torch.device | str, *key: int | float | str) -> torch.Generator:
    """Return a new generator on `device`, seeded by the 63-bit SHA-256 digest of `key`.

    The draws of a CPU and of a GPU generator with the same key differ: PyTorch has one algorithm for each.
    """
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
