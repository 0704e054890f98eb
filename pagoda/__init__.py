"""Perceptually-aligned gradients, on demand: smoothing, certification, ascent and alignment (Kaur et al. 2019).

import pagoda

smoothed = pagoda.Smoothed(network, sigma=0.5, classes=10)  # any nn.Module: [B, C, H, W] in [0, 1] -> logits
smoothed.certify(image)  # a class and the radius within which it holds
smoothed.ascend(image, target=3, epsilon=10).end  # what the classifier takes for a 3
"""

# Names are imported when they are first used: `import pagoda` alone imports no PyTorch. The stub beside this file,
# which type checkers read, is the one list of them.
import re
from importlib import import_module
from pathlib import Path

_STUB = Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8")
_MODULE_OF = {name: module for module, name in re.findall(r"^from (\S+) import (\w+) as \2$", _STUB, re.MULTILINE)}
__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(_MODULE_OF[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
