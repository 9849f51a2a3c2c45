"""Phantoms: datasets generated in the raw layouts of SCGM 2016 and MSSEG-2016, with raters of known habits."""

from ivadomed_labelfusion.phantom.msseg2016 import generate_msseg2016
from ivadomed_labelfusion.phantom.scgm import generate_scgm

__all__ = ["generate_msseg2016", "generate_scgm"]
