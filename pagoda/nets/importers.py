"""Published checkpoints -> the weights of an architecture, and the normalisation where the file has it.

A pickle runs code when it is read, so files are read with ``weights_only=True``; one that holds more than tensors and
plain values is read only where its user says that he trusts it. `pagoda.nets.naming` has what is known of publishers.
"""

import importlib.util
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pagoda.errors import BadInput
from pagoda.nets.architectures import build
from pagoda.nets.denoisers import Denoised, build_denoiser
from pagoda.nets.naming import CLAMPS, CONTAINERS, NORMALISERS, Weights, fits, looks_like, renamed, stripped

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel."""

FORMATS: dict[str, tuple[str, ...]] = {
    "auto": CONTAINERS,
    "locuslab": ("state_dict",),
    "smoothadv": ("state_dict",),
    "robustness": ("model", "state_dict"),
    "robustbench": CONTAINERS,
    "torchvision": ("",),
}
"""Where a publisher's files have their weights."""


STARTS = (b"PK", *(bytes([128, protocol]) for protocol in range(1, 6)))
"""Of PyTorch's files, and of those from before 2020 (pickles): not of a web page, nor of what Git LFS leaves."""


@dataclass(frozen=True)
class Checkpoint:
    """What was read from the file at `path`: weights by their publisher's names, and what stands before the network.

    `moments` are None where the file does not hold them; `clamps`: pictures are clamped to [0, 1] before them. `whole`
    are the weights with the moments among them, as networks have them that normalise by themselves.
    """

    path: Path
    weights: Weights
    whole: Weights
    moments: Moments | None
    clamps: bool


def read_checkpoint(path: Path, form: str = "auto", trusted: bool = False) -> Checkpoint:
    """Read a checkpoint of one of FORMATS.

    Args:
        path: the file.
        form: its format; "auto" finds the weights wherever a publisher has them.
        trusted: read it even where that runs code from it.

    Raises:
        BadInput: where the file is missing, holds more than weights, is not of that format, or has weights that are
            not finite.

    """
    if form not in FORMATS:
        raise BadInput(f"format {form!r} is unknown: choose from {', '.join(FORMATS)}")
    found = _read(path, trusted)
    held = next((found[key] if key else found for key in FORMATS[form] if not key or _is_in(key, found)), None)
    held = held.state_dict() if isinstance(held, nn.Module) else held
    held = held if isinstance(held, Mapping) else {}
    every = {str(name): value for name, value in held.items() if isinstance(value, Tensor)}  # and no accuracy or such
    moments = {name: value for name, value in every.items() if NORMALISERS.search(name)}
    clamps = any(CLAMPS.search(name) for name in every)
    weights = stripped({name: value for name, value in every.items() if name not in moments})
    if not weights or (form == "robustness" and not clamps):
        inside = ", ".join(map(str, list(found)[:8])) if isinstance(found, Mapping) else type(found).__name__
        fault = "holds no weights by their names" if form == "auto" else f"is not of format {form}"
        raise BadInput(f"{path} {fault}: it holds {inside}")
    if wrong := [name for name, value in (weights | moments).items() if not value.isfinite().all()]:
        raise BadInput(f"{path} holds weights that are not finite numbers: {_listed(wrong)}")
    return Checkpoint(Path(path), weights, stripped(every), _moments(path, moments), clamps)


def _is_in(key: str, found: object) -> bool:
    return isinstance(found, Mapping) and isinstance(found.get(key), Mapping | nn.Module)


def _read(path: Path, trusted: bool) -> object:
    # Files of robustness are dill's, where that is installed.
    reader = importlib.import_module("dill") if trusted and importlib.util.find_spec("dill") else None
    try:
        if Path(path).suffix == ".safetensors":
            return load_file(path)
        with Path(path).open("rb") as file:
            start = file.read(40)
        if start[:2] not in STARTS:
            raise BadInput(f"{path} is no checkpoint of PyTorch's: it begins with {start!r}")
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=not trusted, pickle_module=reader)
    except FileNotFoundError:
        raise BadInput(f"no checkpoint at {path}") from None
    except BadInput:
        raise
    except Exception as error:  # of zip, of pickle, of PyTorch, and of the classes of what the file holds
        said = " ".join(str(error).split())[:200]
        if isinstance(error, pickle.UnpicklingError) and not trusted and "weights_only" in str(error):
            what = re.search(r"GLOBAL (\S+)", str(error))
            raise BadInput(
                f"{path} holds more than weights{f' ({what[1]})' if what else ''}, and reading the rest would run code "
                "from the file: only if you trust who made it, say `trusted: true`"
            ) from None
        if isinstance(error, ImportError | AttributeError):
            raise BadInput(
                f"{path} holds an object whose code is not installed ({said}): install that, or save the weights alone "
                "where it is: torch.save(network.state_dict(), file)"
            ) from None
        raise BadInput(f"{path} is no checkpoint that PyTorch reads: {type(error).__name__}: {said}") from None


def _numpy() -> list:
    """Return what NumPy's numbers and arrays are pickled with, by the names of NumPy 1 and 2: it runs no code."""
    kinds = {type(np.dtype(kind)) for kind in (*np.typecodes["AllInteger"], *np.typecodes["AllFloat"], "?", "U", "S")}
    core = np._core.multiarray if hasattr(np, "_core") else np.core.multiarray
    named = [(getattr(core, name), f"numpy.{place}.multiarray.{name}")
             for name in ("scalar", "_reconstruct") for place in ("core", "_core")]  # fmt: skip
    return [*kinds, np.dtype, np.ndarray, *named]


HARMLESS = _numpy()
"""What a file may hold beside tensors and plain values, whoever made it."""


def _moments(path: Path, held: Weights) -> Moments | None:
    """Return the mean and std of each channel among the weights of normalisations, None where they are not there."""
    found: dict[str, set[tuple[float, ...]]] = {"mean": set(), "std": set()}
    for name, value in held.items():
        # As they were written: .4914 is no .49140000343.
        numbers = tuple(float(str(one)) for one in value.flatten().float().numpy())
        found[str(NORMALISERS.search(name).lastgroup)].add(numbers)
    if any(len(kinds) > 1 for kinds in found.values()):
        raise BadInput(f"{path} holds several normalisations, which differ: {_listed(sorted(held))}")
    if not all(found.values()):
        return None
    (mean,), (std,) = found["mean"], found["std"]
    return mean, std


def assemble(
    path: Path,
    architecture: dict,
    classes: Sequence[str],
    channels: int,
    *,
    form: str = "auto",
    trusted: bool = False,
    denoiser: dict | None = None,
    order: Sequence[str] = (),
    **before: Any,
) -> tuple[nn.Module, dict]:
    """Read what a published classifier is made of, and put it together.

    Args:
        path: the file of its weights.
        architecture: as `build` takes it.
        classes: the names of its classes.
        channels: of its pictures.
        form: the file's format, one of FORMATS.
        trusted: read files even where that runs code from them.
        denoiser: what comes before it, {"architecture": as `build_denoiser` takes it, "file": its weights or None}.
        order: the names of the network's outputs in turn; (): as in `classes`.
        **before: mean, std, clamp and standardise, as `normalisation` takes them.

    Returns:
        The network, and what `Identity` says of it: architecture, mean, std, prepare, outputs.

    Raises:
        BadInput: where a file is missing, holds more than weights, or does not fit.

    """
    if order and sorted(order) != sorted(classes):
        given, known = (", ".join(names) for names in (order, classes))
        raise BadInput(f"classes are {given}: must be those of the pictures in another order, {known}")
    checkpoint = read_checkpoint(path, form, trusted)
    network = fit(checkpoint, architecture, len(classes), channels)
    if checkpoint.moments and any(map(NORMALISERS.search, network.state_dict())):  # it normalises by itself
        checkpoint = replace(checkpoint, moments=((0.0,) * channels, (1.0,) * channels))
    normalised = normalisation(checkpoint, channels, **before)
    outputs = tuple(map(list(order).index, classes)) if order else ()
    if not denoiser:
        return network, {"architecture": architecture, "outputs": outputs, **normalised}
    weights = read_checkpoint(Path(denoiser["file"]), "auto", trusted) if denoiser.get("file") else None
    whole = Denoised(fit_denoiser(weights, denoiser["architecture"], channels), network, **normalised)
    architecture = {"name": "denoised", "denoiser": denoiser["architecture"], "network": architecture} | normalised
    raw = {"mean": (0.0,) * channels, "std": (1.0,) * channels}  # the denoiser sees the pictures themselves
    return whole, {"architecture": architecture, "outputs": outputs, **raw}


def fit(checkpoint: Checkpoint, architecture: dict, classes: int, channels: int) -> nn.Module:
    """Return the architecture with a checkpoint's weights.

    Raises BadInput: says which it looks like where that is another one, else what is missing, left over or misshapen.
    """
    looks = looks_like(checkpoint.weights)
    if not fits(looks, architecture):
        raise BadInput(f"{checkpoint.path} does not fit {_named(architecture)}: it looks like {_named(looks)}")
    network = build(architecture, classes, channels)
    where = f"{_named(architecture)} for {classes} classes" + (f" (it looks like {_named(looks)})" if looks else "")
    _load(network, checkpoint, where)
    return network


def fit_denoiser(checkpoint: Checkpoint | None, architecture: dict, channels: int) -> nn.Module:
    """Return the denoiser with a checkpoint's weights; None: with those that its factory gives it."""
    denoiser = build_denoiser(architecture, channels)
    if checkpoint is not None:
        _load(denoiser, checkpoint, f"denoiser {_named(architecture)}")
    return denoiser


def _load(network: nn.Module, checkpoint: Checkpoint, where: str) -> None:
    wanted, weights = network.state_dict(), checkpoint.weights
    # As they are (factories), by our names, as those of the one network within (a diffusion model's), or all.
    given = min(
        (weights, renamed(weights), {f"network.{name}": value for name, value in weights.items()}, checkpoint.whole),
        key=lambda names: len(set(wanted) ^ set(names)),
    )
    # Files of before 2018 do not count batches.
    given = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")} | given
    faults = []
    if missing := sorted(set(wanted) - set(given)):
        faults.append(f"missing {_listed(missing)}")
    if left := sorted(set(given) - set(wanted)):
        faults.append(f"left over {_listed(left)}")
    for name in sorted(set(wanted) & set(given)):
        if given[name].shape != wanted[name].shape:
            shapes = (" x ".join(map(str, value.shape)) or "a number" for value in (given[name], wanted[name]))
            faults.append("{} is {}, not {}".format(name, *shapes))
    if faults:
        raise BadInput(f"{checkpoint.path} does not fit {where}: {'; '.join(faults[:6])}")
    network.load_state_dict(given)


def normalisation(
    checkpoint: Checkpoint,
    channels: int,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    clamp: bool | None = None,
    standardise: bool = False,
) -> dict:
    """Return what stands before the network: "mean" and "std" of each of `channels`, "prepare" as `Identity` has it.

    Args:
        checkpoint: what was read.
        channels: of the pictures.
        mean: of each channel; (): as the file holds it.
        std: likewise.
        clamp: clamp pictures to [0, 1] first; None: where it was published so.
        standardise: bring each picture to mean 0 and deviation 1 by itself; mean and std may then be left out.

    Raises:
        BadInput: where there are none or two.

    """
    given = (tuple(mean), tuple(std)) if mean and std else None
    if checkpoint.moments and given and checkpoint.moments != given:
        said = "holds mean {} and std {}: leave mean and std out".format(*checkpoint.moments)
        raise BadInput(f"{checkpoint.path} {said}")
    chosen = checkpoint.moments or given or (((0.0,) * channels, (1.0,) * channels) if standardise else None)
    if chosen is None:
        raise BadInput(
            f"{checkpoint.path} does not hold the normalisation of its pictures: give mean and std (std 1 where its "
            "authors only centred them)"
        )
    if {len(chosen[0]), len(chosen[1])} != {channels}:
        raise BadInput(f"mean {chosen[0]} and std {chosen[1]}: the pictures have {channels} channels")
    if min(chosen[1]) <= 0:
        raise BadInput(f"{checkpoint.path} holds std {chosen[1]}: must be above 0")
    clamped = checkpoint.clamps if clamp is None else clamp
    prepare = tuple(name for name, wanted in (("clamp", clamped), ("standardise", standardise)) if wanted)
    return {"mean": chosen[0], "std": chosen[1], "prepare": prepare}


def _named(architecture: dict | str) -> str:
    if isinstance(architecture, str):
        return architecture
    options = {key: value for key, value in architecture.items() if key not in ("name", "factory")}
    name = architecture.get("name") or architecture["factory"]
    return f"{name} ({', '.join(f'{key} {value}' for key, value in options.items())})" if options else name


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
