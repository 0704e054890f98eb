import gzip
import urllib.error

import numpy as np
import pytest

from pagoda.data.classes import DATASETS
from pagoda.errors import BadInput
from tests.data.test_sources import fetched

LENGTHS = {"train": 20, "t10k": 10}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """The four files as they are published, with few pictures; no network, nothing installed."""
    folder, source = tmp_path / "published", np.random.default_rng(0)
    folder.mkdir()
    for split, length in LENGTHS.items():
        images = source.integers(0, 256, (length, 28, 28), np.uint8)
        labels = np.arange(length, dtype=np.uint8) % 10
        for name, array in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            # IDX: two zeros, 8 for bytes, the number of dimensions; each dimension, four bytes, the largest first.
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{name}.gz").write_bytes(gzip.compress(head + array.tobytes()))

    def no_network(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", no_network)
    monkeypatch.setattr("pagoda.data.fashion.DEBIAN", tmp_path / "not installed")
    return folder


@pytest.mark.parametrize("where", ["in the root", "installed", "unpacked as torchvision does"])
def test_fashion_mnist_is_found(tmp_path, published, monkeypatch, where):
    root = published if where == "in the root" else tmp_path / "data"
    if where == "installed":
        monkeypatch.setattr("pagoda.data.fashion.DEBIAN", published)
    elif where != "in the root":
        (raw := root / "FashionMNIST" / "raw").mkdir(parents=True)
        for path in published.iterdir():
            (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    known, train, test = fetched(tmp_path, kind="fashion", root=root, size=28)
    assert (len(train), len(test), known.channels, known.classes) == (20, 10, 1, DATASETS["fashion"].classes)
    packed = gzip.decompress((published / "t10k-images-idx3-ubyte.gz").read_bytes())
    assert test.pixels.numpy().tobytes() == packed[16:]
    assert train.labels.tolist() == [*range(10), *range(10)]


def test_without_data_or_network_it_says_where_it_looked(tmp_path, published):
    said = (
        r"^no Fashion-MNIST: .*data/FashionMNIST/raw, .* in .*data and .*not installed; .*no route.*dataset-fashion-m"
    )
    with pytest.raises(BadInput, match=said):
        fetched(tmp_path, kind="fashion", root=tmp_path / "data", size=28)


def test_damaged_files_are_named(tmp_path, published):
    torn = published / "t10k-labels-idx1-ubyte.gz"
    whole = torn.read_bytes()
    torn.write_bytes(whole[:-10])
    with pytest.raises(BadInput, match=r"^.*t10k-labels-idx1-ubyte.gz is damaged \("):
        fetched(tmp_path, kind="fashion", root=published, size=28)
    torn.write_bytes(whole)
    fetched(tmp_path, kind="fashion", root=published, size=28)
    (published / "FashionMNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"torn")
    with pytest.raises(BadInput, match=r"^a file in .*raw is damaged: remove that folder, and it is made anew \("):
        fetched(tmp_path, kind="fashion", root=published, size=28)
