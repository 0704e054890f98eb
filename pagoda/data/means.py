"""Means of classes over the training pictures."""

import torch
from torch import Tensor

from pagoda.data.dataset import Split

DECODED = 200  # how many pictures of a class its mean is taken over, at most, where pictures are files


def class_means(train: Split, classes: list[int]) -> Tensor:
    """Return the mean training picture of each of `classes`, numbers: [K, C, size, size] in [0, 1]."""
    means = []
    for number in classes:
        places = torch.nonzero(train.labels == number).flatten()
        places = places if train.pixels is not None else places[:DECODED]
        total = sum(pictures.double().sum(dim=0) for pictures in train.parts(places))
        means.append((total / len(places)).float())
    return torch.stack(means)
