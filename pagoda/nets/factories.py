"""Networks of anyone's: "module:function", imported from the current folder or from what is installed, and called."""

import importlib
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from pagoda.errors import BadInput


def make(factory: str, options: dict, *ways: dict) -> nn.Module:
    """Return the network that a factory makes, called with `options` and with what it takes of what it is offered.

    Args:
        factory: "module:function".
        options: its own, by name.
        *ways: arguments by name, each set in the words of some library; the first of which the function has every name
            goes, the last one whatever names it has.

    Raises:
        BadInput: where the factory is missing, fails, or makes no network.

    """
    made = _import(factory)
    try:
        taken = set(inspect.signature(made).parameters)
        options = options | next((way for way in ways if set(way) <= taken), ways[-1])
        network = made(**options)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        raise BadInput(f"architecture factory {factory} failed, called with {options}: {said}") from None
    if not isinstance(network, nn.Module):
        raise BadInput(f"architecture factory {factory} made a {type(network).__name__}, not a torch.nn.Module")
    return network


def _import(factory: str) -> Callable[..., nn.Module]:
    module, _, function = str(factory).partition(":")
    if str(Path.cwd()) not in sys.path:  # as with `python -m`
        sys.path.append(str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever its code raises
        raise BadInput(
            f"architecture factory {factory!r}, written module:function, cannot be imported from the current folder or "
            f"from what is installed: {type(error).__name__}: {error}"
        ) from None
