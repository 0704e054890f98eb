# ruff: noqa: I001 - in the order in which the pages of the API show them
from pagoda.smoothed import Smoothed as Smoothed
from pagoda.maths.certification import Certificate as Certificate
from pagoda.maths.certification import ABSTAIN as ABSTAIN
from pagoda.maths.ascent import Ascended as Ascended
from pagoda.nets.model import load_model as load_model
from pagoda.shortcuts import import_checkpoint as import_checkpoint
from pagoda.shortcuts import align as align
from pagoda.shortcuts import montage as montage
from pagoda.errors import BadInput as BadInput
