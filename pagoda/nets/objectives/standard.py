"""standard: training on the pictures themselves."""

from pagoda.nets.objectives.base import Objective


class Standard(Objective):
    """The cross-entropy of the pictures themselves."""
