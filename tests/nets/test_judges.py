import numpy as np
import torch

from pagoda.data.dataset import Split
from pagoda.data.registry import JUDGES
from pagoda.nets.judges import fit_judges


def test_judges_know_digits_that_they_have_not_seen_and_are_the_same_again(dataset):
    train, test = Split(dataset, "train"), Split(dataset, "test")
    fitted = [fit_judges(train.images(list(range(300))), train.labels[:300], seed=0) for _ in range(2)]
    pictures = test.images(list(range(100)))
    for name in fitted[0].fitted:
        first, second = (judges.see(name, pictures) for judges in fitted)
        assert (first == second).all()
        assert (first == test.labels[:100].numpy()).mean() > 0.8


def test_judges_take_large_pictures_and_classes_that_are_missing():
    random = torch.Generator().manual_seed(0)
    labels = torch.tensor([2, 5] * 12)
    pictures = torch.rand(24, 3, 96, 96, generator=random) * 0.2 + labels.view(-1, 1, 1, 1) * 0.1
    judges = fit_judges(pictures, labels, seed=0)
    assert set(judges.fitted) == {judge.name for judge in JUDGES}
    for name in judges.fitted:
        assert (judges.see(name, pictures) == labels.numpy()).all()
        assert set(np.unique(judges.see(name, torch.rand(9, 3, 96, 96, generator=random)))) <= {2, 5}
