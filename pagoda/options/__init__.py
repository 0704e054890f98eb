"""The one description of every option: its type, range, unit, default and help.

From it follow the check of config.yaml and its schema (`check`), the command lines of the steps
(`pagoda.run.command`), what a change reruns, and the facts written beside results. A class is a section of an
experiment or, with paths added, the options of a step. Pixel values lie in [0, 1]; sigma, epsilon and lengths are L2,
in pixel values.
"""

from pagoda.options.base import Options, option
from pagoda.options.contradictions import dataset_faults
from pagoda.options.dataset import Dataset
from pagoda.options.models import AnyModel, Architecture, Bayes, Factory, Import, Model
from pagoda.options.stages import (
    SCORES,
    Align,
    Ascend,
    Certify,
    Experiment,
    Gallery,
    JudgePictures,
    Predict,
    Property,
    Train,
)

__all__ = [
    "SCORES",
    "Align",
    "AnyModel",
    "Architecture",
    "Ascend",
    "Bayes",
    "Certify",
    "Dataset",
    "Experiment",
    "Factory",
    "Gallery",
    "Import",
    "JudgePictures",
    "Model",
    "Options",
    "Predict",
    "Property",
    "Train",
    "dataset_faults",
    "option",
]
