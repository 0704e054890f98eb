"""fetch: a dataset -> arrays that later steps map into memory, or, for large sets, an index of files.

Writes ``dataset.json`` (classes, sizes, channel means and standard deviations, fingerprint) and beside it
``{train,test}_images.npy`` and ``{train,test}_labels.npy``.
"""

from pathlib import Path

import numpy as np

from pagoda.data import sources
from pagoda.data.classes import KNOWN, folder_classes
from pagoda.data.dataset import Description, write_dataset
from pagoda.errors import BadInput
from pagoda.log import logger
from pagoda.options import Dataset, option
from pagoda.run.command import main


class Config(Dataset):
    """Turn a dataset into arrays (or an index of files) and a description."""

    out: Path = option("where dataset.json goes; the arrays go beside it")


def run(config: Config) -> Description:
    """Fetch, check and write the dataset. Raises BadInput as the functions of `pagoda.data.sources` do."""
    if config.resize and (config.storage != "files" or config.resize < config.size):
        raise BadInput(f"resize is {config.resize}: it is for storage 'files', and at least the size, {config.size}")
    root = None if config.root is None else Path(config.root)
    splits, classes = _pictures(config, root)
    mean, std = config.mean, config.std
    channels = _channels(splits["train"].images)
    if len(mean) != len(std) or len(mean) not in (0, channels):
        raise BadInput(f"mean has {len(mean)} values and std {len(std)}: both need {channels}, one a channel, or none")
    if not mean:
        if config.storage == "files":
            raise BadInput(
                "storage 'files' needs the mean and std of each channel in the config: they are not computed"
            )
        mean, std = channel_statistics(splits["train"].images)
    described = write_dataset(
        config.out,
        splits,
        kind=config.kind,
        classes=classes,
        channels=channels,
        size=config.size,
        storage=config.storage,
        root=str(config.root or ""),
        mean=mean,
        std=std,
        **({"resize": config.resize} if config.resize else {}),  # where it is not, the fingerprint is the old one
    )
    logger.info(
        "%s: %d training and %d test pictures of %d classes, %d x %d x %d, fingerprint %s",
        *(config.kind, described.train, described.test, len(classes), channels, config.size, config.size),
        described.fingerprint,
    )
    return described


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of uint8 [N, C, H, W], in units of [0, 1]."""
    values = np.arange(256) / 255
    counts = np.zeros((images.shape[1], 256), np.int64)
    for first in range(0, len(images), 1000):  # not all at once: bincount takes 8 bytes a value
        for c, count in enumerate(counts):
            count += np.bincount(images[first : first + 1000, c].ravel(), minlength=256)
    weights = counts / images[:, 0].size
    means = [float(w @ values) for w in weights]
    stds = [float(np.sqrt(w @ (values - m) ** 2)) for w, m in zip(weights, means, strict=True)]
    return tuple(round(m, 4) for m in means), tuple(max(round(s, 4), 1e-3) for s in stds)


def _channels(images: np.ndarray) -> int:
    return images.shape[1] if images.ndim == 4 else 3  # pictures that are files are decoded as RGB


def _pictures(config: Config, root: Path | None) -> tuple[dict[str, sources.Pictures], tuple[str, ...]]:
    if config.kind == "digits":
        return sources.digits(config.size, config.seed), KNOWN["digits"]
    if root is None:
        raise BadInput(f"dataset kind {config.kind!r} needs a root folder")
    if config.kind == "cifar10":
        return sources.cifar10(root, config.size, config.seed), KNOWN["cifar10"]
    pictures = sources.image_folder(root, config.size, config.seed, config.storage)
    return pictures, folder_classes(root / "train")


if __name__ == "__main__":
    main("fetch", Config, run)
