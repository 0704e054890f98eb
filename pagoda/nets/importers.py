"""Published checkpoints -> the weights of our architectures, and the normalisation where the file has it.

A pickle runs code when it is read, so files are read with ``weights_only=True``; one that holds more than tensors and
plain values is read only where its user says that he trusts it.
"""

import importlib.util
import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from pagoda.errors import BadInput
from pagoda.nets.architectures import build

Weights = dict[str, Tensor]
Normalisation = tuple[tuple[float, ...], tuple[float, ...]] | None


def read_checkpoint(path: Path, form: str, trusted: bool = False) -> tuple[Weights, Normalisation]:
    """Read a checkpoint of one of FORMATS.

    Args:
        path: the file.
        form: its format.
        trusted: read it even where that runs code from the file.

    Returns:
        Weights by our names, and (mean, std) of each channel where the file holds them.

    Raises:
        BadInput: where the file is missing, holds more than weights, or is not of that format.

    """
    if form not in FORMATS:
        raise BadInput(f"format {form!r} is unknown: choose from {', '.join(FORMATS)}")
    # Files of robustness are dill's, where that is installed.
    reader = importlib.import_module("dill") if trusted and importlib.util.find_spec("dill") else None
    try:
        found = torch.load(path, map_location="cpu", weights_only=not trusted, pickle_module=reader)
    except FileNotFoundError:
        raise BadInput(f"no checkpoint at {path}") from None
    except pickle.UnpicklingError:
        raise BadInput(
            f"{path} holds more than weights, and reading the rest would run code from the file: only if you trust "
            "who made it, say `trusted: true`"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise BadInput(f"{path} is no checkpoint that PyTorch reads: {' '.join(str(error).split())[:200]}") from None
    try:
        weights, normalisation = FORMATS[form](found)
    except (KeyError, TypeError, AttributeError):
        held = ", ".join(map(str, list(found)[:8])) if isinstance(found, dict) else type(found).__name__
        raise BadInput(f"{path} is not of format {form}: it holds {held}") from None
    return {name: value for name, value in weights.items() if isinstance(value, Tensor)}, normalisation


def fit(path: Path, weights: Weights, architecture: dict, classes: int, channels: int) -> torch.nn.Module:
    """Return the architecture with these weights. Raises BadInput, listing what is missing, left over or misshapen."""
    network = build(architecture, classes, channels)
    wanted = network.state_dict()
    # Files of before 2018 do not count batches.
    given = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")} | weights
    faults = []
    if missing := sorted(set(wanted) - set(given)):
        faults.append(f"missing {_listed(missing)}")
    if left := sorted(set(given) - set(wanted)):
        faults.append(f"left over {_listed(left)}")
    for name in sorted(set(wanted) & set(given)):
        if given[name].shape != wanted[name].shape:
            shapes = (" x ".join(map(str, value.shape)) for value in (given[name], wanted[name]))
            faults.append("{} is {}, not {}".format(name, *shapes))
    if faults:
        kind = architecture.get("name") or architecture["factory"]
        raise BadInput(f"{path} does not fit {kind} for {classes} classes: {'; '.join(faults[:6])}")
    network.load_state_dict(given)
    return network


def normalisation(
    path: Path | str, found: Normalisation, mean: tuple[float, ...], std: tuple[float, ...], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) of each of `channels`: those `found` in the checkpoint at `path`, or those given.

    `mean` and `std` are () where they are not given. Raises BadInput where there are none or two.
    """
    given = (mean, std) if mean and std else None
    if found and given and found != given:
        raise BadInput(f"{path} holds mean {found[0]} and std {found[1]}: leave mean and std out")
    chosen = found or given
    if chosen is None:
        raise BadInput(
            f"{path} does not hold the normalisation of its pictures: give mean and std (std 1 where its authors only "
            "centred them)"
        )
    if {len(chosen[0]), len(chosen[1])} != {channels}:
        raise BadInput(f"mean {chosen[0]} and std {chosen[1]}: the pictures have {channels} channels")
    return chosen


def _listed(names: list[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _strip(weights: Weights, *prefixes: str) -> Weights:
    """Strip the first of `prefixes` that every weight has."""
    prefix = next((p for p in prefixes if all(name.startswith(p) for name in weights)), "")
    return {name.removeprefix(prefix): value for name, value in weights.items()}


def _locuslab(found: dict) -> tuple[Weights, Normalisation]:
    # Sequential(normalisation, network): Cohen et al. 2019, Salman et al. 2019. The normalisation has no weights.
    return _strip(found["state_dict"], "1.module.", "module.1.", "1.", "module."), None


def _robustness(found: dict) -> tuple[Weights, Normalisation]:
    # Its normaliser clamps to [0, 1] first, which truncates smoothing noise: it is imported without the clamp.
    all_of_it = _strip(found["model"] if "model" in found else found["state_dict"], "module.")
    weights = {name.removeprefix("model."): value for name, value in all_of_it.items() if name.startswith("model.")}
    if not weights:
        raise KeyError("model.")
    renamed = {
        name.replace("linear.", "fc.").replace("shortcut.", "downsample."): value for name, value in weights.items()
    }
    return renamed, _pair(*(all_of_it.get(f"normalizer.new_{what}") for what in ("mean", "std")))


def _robustbench(found: dict) -> tuple[Weights, Normalisation]:
    weights = next((found[name] for name in ("state_dict", "last") if name in found), found)
    weights = _strip(_strip(weights, "module."), "model.")
    normalisation = _pair(weights.pop("mu", None), weights.pop("sigma", None))
    return _strip(weights, "model."), normalisation


def _torchvision(found: dict) -> tuple[Weights, Normalisation]:
    if not all(isinstance(value, Tensor) for value in found.values()):
        raise TypeError
    return dict(found), None


def _pair(*both: Tensor | None) -> Normalisation:
    if any(one is None for one in both):
        return None
    mean, std = (tuple(round(float(value), 6) for value in one.flatten()) for one in both)
    return mean, std


FORMATS: dict[str, Callable[[dict], tuple[Weights, Normalisation]]] = {
    "locuslab": _locuslab,
    "smoothadv": _locuslab,
    "robustness": _robustness,
    "robustbench": _robustbench,
    "torchvision": _torchvision,
}
"""Readers by name: locuslab/smoothing, smoothing-adversarial, MadryLab's robustness, RobustBench, torchvision."""
