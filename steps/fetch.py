"""fetch: a dataset -> arrays that later steps map into memory, or, for large sets, an index of files.

Writes ``dataset.json`` (classes, sizes, channel means and standard deviations, fingerprint) and beside it
``{train,test}_images.npy`` and ``{train,test}_labels.npy``.
"""

from pathlib import Path

import numpy as np

from pagoda.data import sources
from pagoda.data.dataset import Description, write_dataset
from pagoda.data.decode import Look
from pagoda.errors import BadInput
from pagoda.log import logger
from pagoda.options import Dataset, dataset_faults, option
from pagoda.run.command import main

FLAT = 0.02
"""Standard deviation of pixel values, in units of [0, 1], below which pictures show next to nothing."""


class Config(Dataset):
    """Turn a dataset into arrays (or an index of files) and a description."""

    out: Path = option("where dataset.json goes; the arrays go beside it")


def run(config: Config) -> Description:
    """Fetch, check and write the dataset. Raises BadInput as the functions of `pagoda.data.sources` do."""
    if faults := [line for _, line in dataset_faults(config)]:
        raise BadInput("; ".join(faults))
    root = Path(config.root or "")
    look = Look(config.size, config.planes, config.background, config.range, config.resize or 0)
    wish = sources.Wish(config.seed, config.storage, config.labels, config.split)
    held = sources.LOADERS[config.kind](root, look, wish)
    if config.strict and held.warnings:
        raise BadInput("; ".join(held.warnings))
    mean, std = (config.mean, config.std) if config.mean else channel_statistics(held.splits["train"].images)
    size = config.size[0] if config.size[0] == config.size[1] else config.size
    facts = {"kind": config.kind, "classes": held.classes, "channels": look.channels, "size": size}
    facts |= {"storage": config.storage, "root": str(config.root or ""), "mean": mean, "std": std}
    # Where others are not asked for, the fingerprint is the old one.
    facts |= {name: value for name in ("resize", "range") if (value := getattr(config, name))}
    facts |= {"background": config.background} if config.background != 1 else {}
    if max(std) < FLAT:
        held.warnings.append(
            f"pictures are almost flat: their channels' standard deviations are {std}; is `range` right?"
        )
    described = write_dataset(config.out, held.splits, [*held.notes, *held.warnings], **facts)
    for note in held.notes:
        logger.info("%s", note)
    for warning in held.warnings:
        logger.warning("warning: %s", warning)
    logger.info(
        "%s: %d training and %d test pictures of %d classes, %d x %d x %d, fingerprint %s",
        *(config.kind, described.train, described.test, len(described.classes), look.channels, *look.sides),
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


if __name__ == "__main__":
    main("fetch", Config, run)
