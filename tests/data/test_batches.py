import numpy as np
import pytest
import torch

from steps import fetch
from steps.data.batches import Augmentation, batches, epoch_order, random_crop, shift_and_flip
from steps.data.dataset import Split
from steps.maths.randomness import generator

CPU = torch.device("cpu")


@pytest.fixture(params=["arrays", "files"])
def split(request, tmp_path, folder):
    out = tmp_path / "fetch" / "dataset.json"
    fetch.run(
        fetch.Config(
            kind="imagefolder",
            root=folder,
            size=16,
            storage=request.param,
            mean=(0.5,) * 3,
            std=(0.2,) * 3,
            out=out,
        )
    )
    return Split(out, "train")


def test_an_epoch_holds_every_picture_once():
    order = epoch_order(103, 10, seed=0, epoch=2)
    assert [len(part) for part in order] == [10] * 10 + [3]
    assert sorted(torch.cat(order).tolist()) == list(range(103))
    assert not torch.equal(torch.cat(order), torch.cat(epoch_order(103, 10, seed=0, epoch=3)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_epoch_goes_on_with_the_same_pictures(split, workers):
    order = epoch_order(len(split), 5, seed=0, epoch=0)
    shared = {"device": CPU, "augmentation": Augmentation(flip=True, shift=2, crop=True), "key": (0, 0)}
    whole = list(batches(split, order, **shared))
    rest = list(batches(split, order, first=1, workers=workers, **shared))
    assert len(rest) == len(whole) - 1
    for (x, y), (expected_x, expected_y) in zip(rest, whole[1:], strict=True):
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)


def test_without_augmentation_batches_are_the_pictures(split):
    places = [torch.tensor([3, 1]), torch.tensor([2])]
    for (x, y), chosen in zip(batches(split, places, device=CPU), places, strict=True):
        assert torch.equal(x, split.images(chosen)) and torch.equal(y, split.labels[chosen])


def test_without_a_random_crop_files_are_cut_as_for_testing(split):
    places = [torch.tensor([3, 1])]
    ((x, _),) = batches(split, places, device=CPU, augmentation=Augmentation(), key=(0, 0))
    assert torch.equal(x, split.images(places[0]))


def test_shifts_and_flips_agree_with_numpy():
    x = torch.rand(40, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    moved = shift_and_flip(x, Augmentation(flip=True, shift=1), generator("cpu", 1)).numpy()
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = set()
    for before, after in zip(padded, moved, strict=True):
        candidates = {
            (dy, dx, flip): before[:, dy : dy + 6, dx : dx + 6][:, :, :: -1 if flip else 1]
            for dy in range(3) for dx in range(3) for flip in (False, True)
        }  # fmt: skip
        matches = [place for place, candidate in candidates.items() if np.array_equal(candidate, after)]
        assert len(matches) == 1
        seen |= set(matches)
    assert {dy for dy, _, _ in seen} == {0, 1, 2} and {flip for *_, flip in seen} == {False, True}


def test_random_crops_lie_in_the_picture_and_have_the_published_sizes():
    source = np.random.default_rng(0)
    crops = np.array([random_crop(50, 40, source) for _ in range(2000)])
    left, top, width, height = crops.T
    assert (left >= 0).all() and (top >= 0).all() and (left + width <= 50).all() and (top + height <= 40).all()
    share = width * height / 2000
    assert 0.07 < share.min() < 0.15 and share.max() > 0.9
