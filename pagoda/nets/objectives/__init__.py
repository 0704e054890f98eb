"""Training objectives, a page each: the pictures that a network sees of a batch, and the loss on what it says of them.

To add one, write its page, describe its values in pagoda/options/models.py, and name it in OBJECTIVES.
"""

from pagoda.errors import BadInput
from pagoda.nets.objectives.adversarial import Adversarial
from pagoda.nets.objectives.base import Objective
from pagoda.nets.objectives.consistency import Consistency
from pagoda.nets.objectives.gaussian import Gaussian
from pagoda.nets.objectives.gradnorm import GradNorm
from pagoda.nets.objectives.pag import PAG
from pagoda.nets.objectives.smoothadv import SmoothAdv
from pagoda.nets.objectives.smoothmix import SmoothMix
from pagoda.nets.objectives.standard import Standard

OBJECTIVES: dict[str, type[Objective]] = {
    "standard": Standard,
    "gaussian": Gaussian,
    "adversarial": Adversarial,
    "smoothadv": SmoothAdv,
    "consistency": Consistency,
    "smoothmix": SmoothMix,
    "pag": PAG,
    "gradnorm": GradNorm,
}
"""By the names that config.yaml has."""


def make(name: str, **values: float) -> Objective:
    """Return the objective `name` with its values, e.g. ("gaussian", sigma=0.5). Raises BadInput for an unknown one."""
    if name not in OBJECTIVES:
        raise BadInput(f"objective {name!r} is unknown: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name](**values)
