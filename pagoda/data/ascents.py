"""The file of one ascent job: a view, a target class and an epsilon; everything needed to show and caption it."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.lib.npyio import NpzFile

from pagoda.data.views import View
from pagoda.errors import BadInput
from pagoda.files import replacing

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    """How an ascent was made. Lengths are L2 in pixel values; `classes` are the names by number.

    `model` is the model's name, `objective` that of its training; `device` is "cpu" or "cuda"; `data` and `code` are
    fingerprints. `start` is what the sources are: "images" of the test split, "seeds" (class-conditional Gaussian) or
    "noise"; `score` what was ascended: "log-p" of the target, its "logit", or (untargeted) -log p of the own class.
    `options` are all that decide an ascent, as the step got them.
    """

    model: str
    model_hash: str
    objective: str
    sigma: float
    target: str
    epsilon: float
    step: float
    steps: int
    draws: int
    check_draws: int
    seed: int
    classes: tuple[str, ...]
    device: str
    data: str
    code: str
    start: str
    options: dict[str, Any]
    score: str = "log-p"

    @property
    def view(self) -> View:
        """Whose ascents these are: the model, how it is smoothed, and what they start from."""
        return View(self.model, self.sigma, self.start)


@dataclass(frozen=True)
class Ascent:
    """K ascents: pictures are [K, C, H, W] in [0, 1] (float32), frames uint8 and gradients int8 [F, K, C, H, W].

    `index` and `label` say which test images the sources are (of seeds: their number, and the class that they are
    drawn from; noise has the label -1). `frame_steps`, [F], says after how many steps a frame was taken. `p_path`,
    [steps, K], is p_t before each step from that step's draws; `p_before` and `p_after`, [K], are estimated from
    check_draws fresh draws. `norm`, [K], is ||end - source||. `split_half`, [K], is the cosine of two independent
    estimates of the gradient at the source, each from the settings' draws. `gradients` are those of the score at the
    frames, each on its own scale (`pagoda.maths.ascent.Ascended`).
    """

    settings: Settings
    source: np.ndarray
    end: np.ndarray
    frames: np.ndarray
    gradients: np.ndarray
    frame_steps: np.ndarray
    index: np.ndarray
    label: np.ndarray
    p_path: np.ndarray
    p_before: np.ndarray
    p_after: np.ndarray
    norm: np.ndarray
    split_half: np.ndarray

    @property
    def rms(self) -> float:
        """Epsilon as a root mean square per pixel and channel: epsilon / sqrt(C * H * W)."""
        return self.settings.epsilon / math.sqrt(self.source[0].size)


def write_ascent(path: Path, ascent: Ascent) -> None:
    """Write an ascent to `path` (.npz), whole or not at all."""
    arrays = {name: value for name, value in vars(ascent).items() if name != "settings"}
    with replacing(path) as beside:
        np.savez_compressed(beside, settings=np.array(json.dumps(asdict(ascent.settings))), **arrays)


def read_ascent(path: Path) -> Ascent:
    """Read an ascent. Raises BadInput where the file is missing, truncated or something else."""

    def made(file: NpzFile) -> Ascent:
        return Ascent(_settings(file), **{name: file[name] for name in file.files if name != "settings"})

    return read_npz(path, "ascend", made)


def read_sources(path: Path) -> tuple[Settings, np.ndarray, np.ndarray, np.ndarray]:
    """Read settings, source, index and label of an ascent, a fraction of its file. Raises BadInput as `read_ascent`."""
    return read_npz(path, "ascend", lambda file: (_settings(file), file["source"], file["index"], file["label"]))


def read_npz(path: Path, step: str, made: Callable[[NpzFile], T]) -> T:
    """Return what `made` makes of `step`'s arrays. Raises BadInput where the file is missing, truncated or foreign."""
    try:
        # Opened here, because NumPy leaves a file open that it cannot read.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return made(file)
    except FileNotFoundError:
        raise BadInput(f"no {path}: the {step} step writes it") from None
    except Exception as error:  # NumPy and zipfile raise what they like on a foreign file
        raise BadInput(f"{path} is truncated, or no file that the {step} step wrote: {error}") from None


def _settings(file: NpzFile) -> Settings:
    fields = json.loads(str(file["settings"]))
    return Settings(**fields | {"classes": tuple(fields["classes"])})
