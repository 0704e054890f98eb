import hashlib
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torchvision import transforms
from torchvision.datasets import CIFAR10, ImageFolder

from pagoda.data.batches import stream
from pagoda.data.classes import DATASETS
from pagoda.data.dataset import Pictures, Split, read_description, write_dataset
from pagoda.data.decode import Look, centre
from pagoda.data.sources import LOADERS
from pagoda.errors import BadInput
from steps import fetch
from tests.conftest import ODD


def fetched(tmp_path, **settings):
    out = tmp_path / "fetch" / "dataset.json"
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    return fetch.run(fetch.Config(out=out, **settings)), Split(out, "train"), Split(out, "test")


def test_digits_are_all_there_once_and_downsample_to_the_originals(tmp_path):
    known, train, test = fetched(tmp_path, kind="digits", size=16)
    assert (len(train), len(test), known.classes) == (1438, 359, DATASETS["digits"].classes)
    images = np.concatenate([train.pixels.numpy(), test.pixels.numpy()])[:, 0] / 255
    small = images.reshape(-1, 8, 2, 8, 2).mean(axis=(2, 4))
    # Bilinear upsampling by two keeps sums nearly; each original matches exactly one picture.
    original = load_digits().images / 16
    assert np.abs(np.sort(small.mean(axis=(1, 2))) - np.sort(original.mean(axis=(1, 2)))).max() < 0.01


def test_the_same_seed_gives_the_same_files_and_another_seed_others(tmp_path):
    first = fetched(tmp_path / "1", kind="digits", size=8)[0].fingerprint
    assert fetched(tmp_path / "2", kind="digits", size=8)[0].fingerprint == first
    assert fetched(tmp_path / "3", kind="digits", size=8, seed=1)[0].fingerprint != first


@pytest.mark.parametrize("storage", ["arrays", "files"])
def test_image_folders(tmp_path, folder, storage):
    known, train, test = fetched(
        tmp_path, kind="imagefolder", root=str(folder), size=16, storage=storage, mean=(0.5,) * 3, std=(0.2,) * 3
    )
    assert (known.classes, len(train), len(test)) == ((ODD, "dog"), 12, 16)
    x = train.images(list(range(12)))
    assert tuple(x.shape) == (12, 3, 16, 16)
    # The pictures of class 1 were made brighter: labels and pictures stay together.
    assert ((x.mean(dim=(1, 2, 3)) > 0.3) == (train.labels == 1)).all()
    assert train.labels[:6].unique().numel() == 2  # shuffled
    # In their source's order, picture k is the k-th of torchvision's, and so of published logs.
    theirs = ImageFolder(folder / "test")
    ours = Split(tmp_path / "fetch" / "dataset.json", "test", as_in_source=True)
    assert ours.labels.tolist() == theirs.targets
    for k in ours.every(3, skip=5, first=1):
        expected = transforms.functional.pil_to_tensor(centre(theirs[k][0], Look((16, 16)))) / 255
        assert torch.equal(ours.images([k])[0], expected)


def test_every_so_many_pictures_are_those_of_published_logs(dataset):
    test = Split(dataset, "test")
    assert test.every(500, skip=20) == list(range(0, 359, 20))
    assert test.every(3, skip=1, first=100) == [100, 101, 102]
    assert test.every(3) == [0, 119, 239]
    with pytest.raises(BadInput, match="first is 359: the pictures are 0 to 358"):
        test.every(3, skip=1, first=359)


@pytest.mark.parametrize("shape", [(33, 47), (47, 33), (301, 256), (57, 57), (32, 32), (29, 200), (500, 375)])
def test_pictures_are_cut_for_testing_as_published_code_does(tmp_path, folder, shape):
    height, width = shape
    path = folder / "test" / "dog" / "0.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)).save(path)
    _, _, test = fetched(
        tmp_path,
        kind="imagefolder",
        root=str(folder),
        size=28,
        resize=32,
        storage="files",
        mean=(0.5,) * 3,
        std=(0.2,) * 3,
    )
    place = next(k for k in range(len(test)) if test.path(k) == path)
    published = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(28), transforms.ToTensor()])
    assert (test.images([place])[0] == published(Image.open(path).convert("RGB"))).all()
    ((x, _),) = stream(test, lambda epoch: [torch.tensor([place])], device=torch.device("cpu"), steps=1)
    assert (x == test.images([place])).all()


def test_a_description_from_before_resize_is_read(tmp_path):
    known = fetched(tmp_path, kind="digits", size=8)[0]
    path = tmp_path / "fetch" / "dataset.json"
    old = {name: value for name, value in json.loads(path.read_text()).items() if name != "resize"}
    path.write_text(json.dumps(old))
    assert read_description(path) == known and known.resize == 0


def test_arrays_larger_than_memory_are_refused_before_a_picture_is_decoded(tmp_path, folder, monkeypatch):
    path = folder / "train" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:300])
    monkeypatch.setattr("pagoda.data.sources.machine_memory", lambda: 28 * 3 * 16 * 16 - 1)
    said = r"pictures: 28 pictures of 16 x 16 pixels take 0\.0 GB as arrays, more than .*: set `storage: files`$"
    with pytest.raises(BadInput, match=said):
        fetched(tmp_path, kind="imagefolder", root=str(folder), size=16)
    settings = {"storage": "files", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    assert fetched(tmp_path, kind="imagefolder", root=str(folder), size=16, **settings)[0].train == 12


def test_files_and_fingerprint_are_those_of_the_arrays(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (7, 8, 8, 3), np.uint8).transpose(0, 3, 1, 2)  # as CIFAR-10's: not contiguous
    pictures = Pictures(images, np.arange(7))
    facts = {"kind": "x", "classes": ("a",), "channels": 3, "size": 8, "storage": "arrays", "root": "r"}
    facts |= {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    known = write_dataset(tmp_path / "dataset.json", {"train": pictures, "test": pictures}, **facts)
    digest = hashlib.sha256(repr(sorted((k, v) for k, v in facts.items() if k != "root")).encode())
    for _ in range(2):
        for array in (images, np.arange(7)):
            buffer = io.BytesIO()
            np.save(buffer, array)
            digest.update(buffer.getvalue())
    assert known.fingerprint == digest.hexdigest()[:12]
    assert (np.load(tmp_path / "test_images.npy") == images).all()


def test_channel_statistics_are_those_of_numpy():
    images = np.random.default_rng(0).integers(0, 200, (2500, 2, 3, 4), np.uint8)
    means, stds = fetch.channel_statistics(images)
    assert means == pytest.approx(images.mean(axis=(0, 2, 3)) / 255, abs=1e-4)
    assert stds == pytest.approx(images.std(axis=(0, 2, 3)) / 255, abs=1e-4)


def break_folder(folder, how):
    if how == "class only in train":
        shutil.rmtree(folder / "test" / "dog")
    elif how == "empty class":
        for path in (folder / "test" / "dog").iterdir():
            path.unlink()
    elif how == "no train":
        shutil.rmtree(folder / "train")
    elif how == "corrupt":
        (folder / "train" / "dog" / "3.png").write_bytes(b"no picture")
    elif how == "truncated":
        path = folder / "train" / "dog" / "3.png"
        path.write_bytes(path.read_bytes()[:300])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("class only in train", "different classes: only in train: dog"),
        ("empty class", "class 'dog' is empty: no picture of it in test"),
        ("no train", "no folder .*train"),
        ("corrupt", "dog/3.png"),
        ("truncated", "dog/3.png"),
    ],
)
def test_broken_image_folders_are_refused_by_name(tmp_path, folder, how, said):
    break_folder(folder, how)
    with pytest.raises(BadInput, match=said):
        fetched(tmp_path, kind="imagefolder", root=str(folder), size=16)


@pytest.fixture
def torchvision_files(tmp_path, monkeypatch):
    """CIFAR-10 in torchvision's own form, with 20 pictures a batch and checksums to match."""
    base = tmp_path / "cifar" / CIFAR10.base_folder
    base.mkdir(parents=True)
    source = np.random.default_rng(0)
    for name in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
        batch = {
            "data": source.integers(0, 256, (20, 3072), dtype=np.uint8),
            "labels": [k % 10 for k in range(20)],
        }
        (base / name).write_bytes(pickle.dumps(batch))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": list(DATASETS["cifar10"].classes)}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: True)
    return tmp_path / "cifar"


def test_cifar10_in_torchvisions_form(tmp_path, torchvision_files):
    known, train, test = fetched(tmp_path, kind="cifar10", root=torchvision_files, size=32)
    assert (len(train), len(test), known.channels, known.classes) == (100, 20, 3, DATASETS["cifar10"].classes)
    raw = pickle.loads((torchvision_files / CIFAR10.base_folder / "test_batch").read_bytes())
    assert (test.pixels.flatten(1).numpy() == raw["data"]).all()
    assert test.labels.tolist() == raw["labels"]


def test_cifar10_without_data_or_network_says_where_it_looked(tmp_path, monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(
        BadInput,
        match=r"looked for whole files in .*cifar-10-batches-py.* and for .*train.*no route to host.*put either",
    ):
        fetched(tmp_path, kind="cifar10", root=tmp_path / "nothing", size=32)


def test_torn_torchvision_files_are_fetched_anew(tmp_path, monkeypatch):
    (tmp_path / "cifar" / CIFAR10.base_folder).mkdir(parents=True)
    asked = []
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", lambda *a, **k: asked.append(a))
    with pytest.raises(BadInput, match="no CIFAR-10"):
        fetched(tmp_path, kind="cifar10", root=tmp_path / "cifar", size=32)
    assert asked


def test_files_that_changed_are_other_data(tmp_path, folder):
    settings = {"kind": "imagefolder", "root": folder, "size": 16, "storage": "files"}
    settings |= {"mean": (0.5,) * 3, "std": (0.2,) * 3}
    first = fetched(tmp_path / "1", **settings)[0].fingerprint
    assert fetched(tmp_path / "2", **settings)[0].fingerprint == first
    shutil.copyfile(folder / "train" / "dog" / "1.png", folder / "train" / "dog" / "2.png")
    assert fetched(tmp_path / "3", **settings)[0].fingerprint != first


def test_an_image_folder_that_is_not_cifar10_is_not_taken_for_it(tmp_path, folder):
    with pytest.raises(BadInput, match="has the classes .*, dog; CIFAR-10 has airplane"):
        fetched(tmp_path, kind="cifar10", root=folder, size=32)


def test_what_a_dataset_cannot_have_is_refused(tmp_path, folder):
    assert set(LOADERS) == set(DATASETS)
    for settings, said in (
        ({"kind": "imagefolder"}, "root is missing; kind imagefolder needs the folder"),
        ({"kind": "imagefolder", "root": folder, "storage": "files"}, "needs mean and std of each channel"),
        ({"kind": "imagefolder", "root": folder, "resize": 20}, "is 20: it is for storage files, and at least size"),
        ({"kind": "imagefolder", "root": folder, "mean": (0.5,), "std": (0.2,)}, "go together, 3 values each"),
        ({"kind": "digits", "mean": (0.5,)}, "go together, 1 values each"),
        ({"kind": "cifar10", "root": folder.parent, "size": 16}, "is 16: pictures of cifar10 have 32 pixels a side"),
    ):
        with pytest.raises(BadInput, match=said):
            fetched(tmp_path, **{"size": 16} | settings)
