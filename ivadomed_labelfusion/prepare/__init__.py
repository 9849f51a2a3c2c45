"""From raw downloads (SCGM challenge 2016, MSSEG-2016) or loose files to BIDS datasets that ivadomed loads."""

from ivadomed_labelfusion.prepare._report import PLAIN_WIDTH, print_summary
from ivadomed_labelfusion.prepare.generic import prepare_generic
from ivadomed_labelfusion.prepare.msseg2016 import prepare_msseg2016
from ivadomed_labelfusion.prepare.scgm import prepare_scgm

__all__ = ["PLAIN_WIDTH", "prepare_generic", "prepare_msseg2016", "prepare_scgm", "print_summary"]
