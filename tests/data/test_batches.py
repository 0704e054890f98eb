from functools import partial

import numpy as np
import pytest
import torch

from pagoda.data.batches import Augmentation, epoch_order, random_crop, resident, shift_and_flip, stream
from pagoda.data.dataset import Split
from pagoda.maths.randomness import generator
from steps import fetch

CPU = torch.device("cpu")


@pytest.fixture(params=["arrays", "files"])
def split(request, tmp_path, folder):
    out = tmp_path / "fetch" / "dataset.json"
    fetch.run(
        fetch.Config(
            kind="imagefolder",
            root=str(folder),
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


AUGMENTATION = Augmentation(flip=True, shift=2, crop=True)


def streamed(split, **kwargs):
    order = partial(epoch_order, len(split), 5, 7)
    return list(stream(split, order, device=CPU, augmentation=AUGMENTATION, seed=7, steps=8, **kwargs))


@pytest.mark.parametrize(("first", "workers"), [(0, 0), (0, 2), (1, 0), (3, 2), (7, 0)])
def test_a_stream_is_the_epochs_one_after_another_from_any_step(split, first, workers):
    expected = streamed(split)
    places = [places for epoch in range(3) for places in epoch_order(len(split), 5, 7, epoch)]
    assert [len(y) for _, y in expected] == [5, 5, 2, 5, 5, 2, 5, 5]
    assert all(torch.equal(y, split.labels[some]) for (_, y), some in zip(expected, places, strict=False))
    found = streamed(split, first=first, workers=workers)
    assert len(found) == 8 - first
    for (x, y), (expected_x, expected_y) in zip(found, expected[first:], strict=False):
        assert torch.equal(x, expected_x) and torch.equal(y, expected_y)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_shares_of_a_batch_make_the_whole_and_may_be_empty(split, workers):
    whole = streamed(split)
    for rank in range(3):
        share = slice(rank, None, 3)
        found = streamed(split, share=share, workers=workers)
        assert {len(y) for _, y in found} == ({1, 0} if rank == 2 else {2, 1})
        for (x, y), (part_x, part_y) in zip(whole, found, strict=True):
            assert torch.equal(x[share], part_x) and torch.equal(y[share], part_y)


def test_without_augmentation_batches_are_the_pictures(split):
    places = [torch.tensor([3, 1]), torch.tensor([2])]
    for (x, y), chosen in zip(stream(split, lambda epoch: places, device=CPU, steps=2), places, strict=True):
        assert torch.equal(x, split.images(chosen)) and torch.equal(y, split.labels[chosen])


def test_many_pictures_are_looked_at_a_part_at_a_time(split, monkeypatch):
    places = torch.tensor([3, 1, 7, 2, 5])
    assert [len(part) for part in split.parts(places)] == [5]
    monkeypatch.setattr("pagoda.data.dataset.TOGETHER", 2 * 3 * 16 * 16 + 1)
    parts = list(split.parts(places))
    assert [len(part) for part in parts] == [2, 2, 1] and torch.equal(torch.cat(parts), split.images(places))


@pytest.mark.parametrize(("free", "where"), [(200, "meta"), (199, "cpu")])
def test_pixels_stay_beside_a_gpu_that_they_would_fill(monkeypatch, free, where):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10**9))
    pixels = torch.zeros(100, dtype=torch.uint8)
    assert resident(pixels, torch.device("meta")).device.type == where
    assert resident(pixels, CPU) is pixels


@pytest.mark.parametrize("free", [0, 10**9])
def test_batches_come_to_the_device_from_wherever_the_pixels_are(split, monkeypatch, free):
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (free, 10**9))
    ((x, y),) = stream(split, lambda epoch: [torch.tensor([3, 1])], device=torch.device("meta"), steps=1)
    assert (x.device.type, y.device.type, tuple(x.shape), x.dtype) == ("meta", "meta", (2, 3, 16, 16), torch.float32)


def test_without_a_random_crop_files_are_cut_as_for_testing(split):
    places = [torch.tensor([3, 1])]
    ((x, _),) = stream(split, lambda epoch: places, device=CPU, steps=1, augmentation=Augmentation())
    assert torch.equal(x, split.images(places[0]))


def test_shifts_and_flips_agree_with_numpy():
    x = torch.rand(40, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    moved = shift_and_flip(x, Augmentation(flip=True, shift=1), generator("cpu", 1), len(x)).numpy()
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
