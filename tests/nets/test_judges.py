import numpy as np
import torch

from pagoda.data.dataset import Split
from pagoda.data.registry import JUDGES
from pagoda.nets.judges import Judges, fit_judges
from pagoda.nets.model import load_model


def test_judges_know_digits_that_they_have_not_seen_and_are_the_same_again(dataset, judge):
    train, test = Split(dataset, "train"), Split(dataset, "test")
    net = load_model(judge).classifier
    first, second = (
        Judges(net, fit_judges(train.images(list(range(300))), train.labels[:300], seed=0)) for _ in range(2)
    )
    pictures = test.images(list(range(100)))  # the net is trained on the last 200
    for name in (kind.name for kind in JUDGES):
        seen = first.see(name, pictures)
        assert (seen == second.see(name, pictures)).all()
        assert (seen == test.labels[:100].numpy()).mean() > 0.8


def test_judges_take_large_pictures_and_classes_that_are_missing():
    random = torch.Generator().manual_seed(0)
    labels = torch.tensor([2, 5] * 12)
    pictures = torch.rand(24, 3, 96, 96, generator=random) * 0.2 + labels.view(-1, 1, 1, 1) * 0.1
    small = torch.nn.functional.avg_pool2d(pictures, 3)
    judges = Judges(torch.nn.Identity(), fit_judges(small, labels, seed=0))
    for name in judges.fitted:
        assert (judges.see(name, pictures) == labels.numpy()).all()
        assert set(np.unique(judges.see(name, torch.rand(9, 3, 96, 96, generator=random)))) <= {2, 5}
