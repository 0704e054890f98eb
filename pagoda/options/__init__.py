"""The one description of every option: its type, range, unit, default and help.

From it follow the check of config.yaml and its schema (`check`), the command lines of the steps
(`pagoda.run.command`), what a change reruns, and the facts written beside results. A class is a section of an
experiment or, with paths added, the options of a step. Pixel values lie in [0, 1]; sigma, epsilon and lengths are L2,
in pixel values.
"""

from pagoda.options.base import Options as Options
from pagoda.options.base import option as option
from pagoda.options.contradictions import dataset_faults as dataset_faults
from pagoda.options.dataset import Dataset as Dataset
from pagoda.options.experiment import Experiment as Experiment
from pagoda.options.models import AnyModel as AnyModel
from pagoda.options.models import Architecture as Architecture
from pagoda.options.models import Bayes as Bayes
from pagoda.options.models import Import as Import
from pagoda.options.stages import SCORES as SCORES
from pagoda.options.stages import Align as Align
from pagoda.options.stages import Ascend as Ascend
from pagoda.options.stages import Certify as Certify
from pagoda.options.stages import Gallery as Gallery
from pagoda.options.stages import JudgePictures as JudgePictures
from pagoda.options.stages import Predict as Predict
from pagoda.options.stages import Property as Property
from pagoda.options.stages import Train as Train
