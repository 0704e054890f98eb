"""What the pipeline's other steps do, for networks and arrays at hand: import a checkpoint, align, show."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pagoda.errors import BadInput
from pagoda.maths.alignment import contrastive_cosine, high_frequency_fraction, saliency_cosine
from pagoda.nets.architectures import fold_ours
from pagoda.nets.importers import assemble
from pagoda.nets.model import BaseClassifier
from pagoda.smoothed import Images, Seed, Smoothed, Target


def import_checkpoint(
    path: Path | str,
    *,
    architecture: str | dict,
    classes: Sequence[str] | int,
    format: str = "auto",
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    clamp: bool | None = None,
    standardise: bool = False,
    denoiser: dict | None = None,
    channels: int = 3,
    trusted: bool = False,
    device: torch.device | str = "cpu",
) -> BaseClassifier:
    """Read a published checkpoint as a base classifier, ready for `Smoothed`: frozen, in eval mode, in float32.

    Args:
        path: the file.
        architecture: name of the architecture, e.g. "resnet110", or {"name": "wideresnet", "depth": 28, "width": 10},
            or {"factory": "module:function", options}, e.g. "timm:create_model".
        classes: the names of its classes in the order of its outputs, or how many there are.
        format: its format: auto, locuslab, smoothadv, robustness, robustbench or torchvision.
        mean: of each channel, where the file does not hold it; pictures are normalised in the classifier.
        std: likewise.
        clamp: clamp pictures to [0, 1] before all else; None: where it was published so (robustness).
        standardise: bring each picture to mean 0 and deviation 1 by itself (Ding et al. 2020).
        denoiser: what comes before it, {"architecture": {"name": "dncnn"} or {"factory": ...}, "file": its weights}.
        channels: of its pictures.
        trusted: read the files even where that runs code from them.
        device: where the classifier goes.

    Raises:
        BadInput: where the file is missing, is of another format, or does not fit the architecture.

    """
    options = {"name": architecture} if isinstance(architecture, str) else dict(architecture)
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    before = {"mean": tuple(mean), "std": tuple(std), "clamp": clamp, "standardise": standardise}
    network, known = assemble(
        Path(path), options, names, channels, form=format, trusted=trusted, denoiser=denoiser, **before
    )
    fold_ours(network.eval(), known.pop("architecture"))
    return BaseClassifier(network, classes=names, **known).eval().requires_grad_(False).to(device)


def align(
    smoothed: Smoothed,
    x: Images,
    target: Target,
    means: Images,
    *,
    label: Target | None = None,
    end: Images | None = None,
    draws: int = 64,
    batch: int = 256,
    seed: Seed = 0,
) -> dict[str, np.ndarray]:
    """Return how well gradients, and changes made along them, agree with the classes: measures by name, each [B].

    "contrastive" (of the gradient towards the target) and "split_half" (near 1 where the draws suffice) always;
    "saliency" where the images' own classes are given; "high_frequency" where ends are. `pagoda.maths.alignment`
    defines them. NaN where a measure is undefined.

    Args:
        smoothed: the classifier.
        x: images, [B, C, H, W].
        target: a class number, or one an image.
        means: the mean image of each class, [classes, C, H, W].
        label: the images' own classes.
        end: where ascents from the images ended, [B, C, H, W].
        draws: noise draws of a gradient.
        batch, seed: as for `Smoothed`.

    Raises:
        BadInput: as `Smoothed` does, or where shapes do not fit.

    """
    images, averages = (torch.as_tensor(given, dtype=torch.float32) for given in (x, means))
    if images.dim() != 4 or averages.shape != (smoothed.classes, *images.shape[1:]):
        raise BadInput(
            f"images are {list(images.shape)} and class means {list(averages.shape)}: [B, C, H, W] and "
            f"[{smoothed.classes}, C, H, W] are needed"
        )
    averages = averages.to(images.device)

    def gradient(classes: Target) -> torch.Tensor:
        return torch.as_tensor(smoothed.gradient(x, classes, draws=draws, batch=batch, seed=seed))

    towards = torch.as_tensor(target, device=images.device).expand(len(images))
    found = {
        "contrastive": contrastive_cosine(gradient(target), images, averages, towards),
        "split_half": smoothed.split_half(x, target, draws=draws, batch=batch, seed=seed),
    }
    if label is not None:
        found["saliency"] = saliency_cosine(gradient(label), images)
    if end is not None:
        found["high_frequency"] = high_frequency_fraction(torch.as_tensor(end).to(images) - images)
    return {name: np.asarray(torch.as_tensor(values).cpu()) for name, values in found.items()}


def montage(
    rows: Sequence[Sequence[Images]],
    path: Path | str,
    *,
    labels: Sequence[str] = (),
    columns: Sequence[str] = (),
    title: str = "",
    caption: str = "",
) -> None:
    """Draw images in rows and columns, pixel by pixel, and write them to a figure.

    Args:
        rows: images by row and column, each [C, H, W] in [0, 1], one channel or three, all of one shape.
        path: where the figure goes: .png, .pdf or .svg.
        labels: one a row, beside it.
        columns: headings, one a column.
        title: above.
        caption: below.

    Raises:
        BadInput: where shapes or numbers of images differ, or the figure cannot be written.

    """
    from pagoda.figures.grid import Row, draw_grid  # imported late: Matplotlib is slow, and the others do without
    from pagoda.figures.style import save_figure

    labels, columns = list(labels) or [""] * len(rows), list(columns) or [""] * len(rows[0] if rows else ())
    if not columns or len(labels) != len(rows) or {len(row) for row in rows} != {len(columns)}:
        raise BadInput(
            f"rows of {', '.join(str(len(row)) for row in rows) or 'no'} images, {len(labels)} labels and "
            f"{len(columns)} headings do not fit"
        )
    pictures = [[np.asarray(torch.as_tensor(image).detach().cpu()) for image in row] for row in rows]
    sheet = draw_grid([Row(*row) for row in zip(labels, pictures, strict=True)], columns, title, caption)
    save_figure(sheet.figure, Path(path))
