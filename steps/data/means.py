"""Means of classes over the training pictures."""

import torch
from torch import Tensor

from steps.data.dataset import Split

DECODED = 200
"""How many pictures of a class its mean is taken over, at most, where pictures are files."""


def class_means(train: Split, classes: list[int], part: int = 1000) -> Tensor:
    """Return the mean training picture of each of `classes`: [K, C, size, size] in [0, 1].

    Args:
        train: the training split.
        classes: class numbers.
        part: pictures in memory at once.

    """
    means = []
    for number in classes:
        places = torch.nonzero(train.labels == number).flatten()
        places = places if train.pixels is not None else places[:DECODED]
        total = sum(train.images(some).double().sum(dim=0) for some in places.split(part))
        means.append((total / len(places)).float())
    return torch.stack(means)
