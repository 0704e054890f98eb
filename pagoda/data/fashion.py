"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 pixels, in ten classes as many as those of MNIST.

Source: Xiao, Rasul & Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", arXiv 1708.07747.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np

from pagoda.data.dataset import Pictures
from pagoda.errors import BadInput
from pagoda.files import write_bytes

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist installs the four files."""


def fashion(root: Path) -> dict[str, Pictures]:
    """Return Fashion-MNIST as [N, 1, 28, 28], in its own order, from what lies under `root`, or is brought there.

    Looks for ``FashionMNIST/raw`` (torchvision's own form), then for the four published files
    (``train-images-idx3-ubyte.gz`` …) in `root` and where Debian's package dataset-fashion-mnist has them, then
    has torchvision download them.

    Raises:
        BadInput: where there is neither data nor network (says where it looked), or a file is damaged.

    """
    from torchvision.datasets import FashionMNIST

    raw = root / FashionMNIST.__name__ / "raw"
    names = [name for name, _ in FashionMNIST.resources]
    try:
        for name in names:
            _unpack([folder / name for folder in (root, DEBIAN)], raw / name.removesuffix(".gz"))
        sets = {split: FashionMNIST(root, train=split == "train", download=True) for split in ("train", "test")}
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        if all((raw / name.removesuffix(".gz")).is_file() for name in names):
            raise BadInput(f"a file in {raw} is damaged: remove that folder, and it is made anew ({error})") from None
        said = " ".join(str(error).split())
        raise BadInput(
            f"no Fashion-MNIST: looked for torchvision's files in {raw}, and for the four published ones, "
            f"{names[0]} …, in {root} and {DEBIAN}; the download failed ({said}); put either there, or install "
            "Debian's package dataset-fashion-mnist"
        ) from None
    return {
        split: Pictures(data.data.numpy()[:, None], data.targets.numpy().astype(np.int64))
        for split, data in sets.items()
    }


def _unpack(packed: list[Path], path: Path) -> None:
    """Write `path`, unless it is there, from the first of the files `packed` that is."""
    # Debian's are packed anew: their MD5 sums are not those that torchvision knows.
    for source in packed:
        if not path.exists() and source.is_file():
            try:
                content = gzip.decompress(source.read_bytes())
            except (OSError, EOFError, zlib.error) as error:
                raise BadInput(f"{source} is damaged ({error})") from None
            write_bytes(path, content)
