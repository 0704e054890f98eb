"""The pictures of a class, and means of classes; which pictures a model is made from, and which it is tested on."""

from pathlib import Path

import torch
from torch import Tensor

from pagoda.data.dataset import Split
from pagoda.errors import BadInput

DECODED = 200  # how many pictures of a class stand for it, at most, where pictures are files


def places_of(split: Split, number: int) -> Tensor:
    """Return the places of the pictures of class `number`; where pictures are files, of the first DECODED."""
    places = torch.nonzero(split.labels == number).flatten()
    return places if split.pixels is not None else places[:DECODED]


def class_means(train: Split, classes: list[int]) -> Tensor:
    """Return the mean training picture of each of `classes`, numbers: [K, C, size, size] in [0, 1]."""
    means = []
    for number in classes:
        places = places_of(train, number)
        total = sum(pictures.double().sum(dim=0) for pictures in train.parts(places))
        means.append((total / len(places)).float())
    return torch.stack(means)


def made_from_and_tested_on(data: Path, judge_fit: int, judge_held_out: int) -> tuple[Split, Split]:
    """Return the training and the test pictures; for a judge, parts of the test images: those it is fitted on, others.

    Args:
        data: dataset.json.
        judge_fit: how many of the last test images a judge is fitted on; 0: it is no judge.
        judge_held_out: how many before those it is tested on.

    Raises:
        BadInput: where there are not as many.

    """
    test = Split(data, "test")
    if not judge_fit:
        return Split(data, "train"), test
    if not 0 < judge_held_out <= (left := len(test) - judge_fit):
        raise BadInput(
            f"judge_fit is {judge_fit} and judge_held_out {judge_held_out}: of {len(test)} test images {left} are left"
        )
    fit, held_out = (Split(data, "test", part) for part in (slice(left, None), slice(left - judge_held_out, left)))
    return fit, held_out
