"""The file of one ascent job: a view, a target class and an epsilon; everything needed to show and caption it."""

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pagoda.errors import BadInput
from pagoda.files import replacing


@dataclass(frozen=True)
class Settings:
    """How an ascent was made. Lengths are L2 in pixel values; `classes` are the names by number.

    `model` is the model's name, `objective` that of its training; `device` is "cpu" or "cuda"; `data` and `code` are
    fingerprints. `start` is what the sources are: "images" of the test split, "seeds" (class-conditional Gaussian) or
    "noise". `options` are all that decide an ascent, as the step got them.
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

    @property
    def view(self) -> str:
        """The model and how it is smoothed, for people: "standard, smoothed with σ = 0.5"."""
        smoothed = f"smoothed with σ = {self.sigma:g}" if self.sigma else "unsmoothed"
        return f"{self.model}, {smoothed}" + ("" if self.start == "images" else f", from {self.start}")


@dataclass(frozen=True)
class Ascent:
    """K ascents: pictures are [K, C, H, W] in [0, 1] (float32), frames uint8 [F, K, C, H, W].

    `index` and `label` say which test images the sources are (of seeds: their number, and the class that they are
    drawn from; noise has the label -1). `frame_steps`, [F], are the steps after which frames were taken. `p_path`,
    [steps, K], is p_t before each step from that step's draws; `p_before` and `p_after`, [K], are estimated from
    check_draws fresh draws. `norm`, [K], is ||end - source||. `split_half`, [K], is the cosine of two independent
    estimates of the gradient at the source, each from the settings' draws.
    """

    settings: Settings
    source: np.ndarray
    end: np.ndarray
    frames: np.ndarray
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
    return _read(path, Ascent)


@dataclass(frozen=True)
class Sources:
    """What an ascent starts from, alone: a fraction of its file. Fields are those of `Ascent`."""

    settings: Settings
    source: np.ndarray
    index: np.ndarray
    label: np.ndarray


def read_sources(path: Path) -> Sources:
    """Read the sources of an ascent. Raises BadInput as `read_ascent` does."""
    return _read(path, Sources)


def _read(path: Path, kind: type) -> Any:
    try:
        # Opened here, because NumPy leaves a file open that it cannot read.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            settings = json.loads(str(file["settings"]))
            settings = Settings(**settings | {"classes": tuple(settings["classes"])})
            return kind(settings, **{field.name: file[field.name] for field in fields(kind)[1:]})
    except FileNotFoundError:
        raise BadInput(f"no ascent at {path}: the ascend step writes it") from None
    except Exception as error:  # NumPy and zipfile raise what they like on a foreign file
        raise BadInput(f"{path} is truncated, or no file that the ascend step wrote: {error}") from None
