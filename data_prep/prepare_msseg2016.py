#!/usr/bin/env python
"""Convert the raw MSSEG-2016 download to BIDS: ``prepare_msseg2016.py RAW OUT [--space raw] ...``."""

import sys

from ivadomed_labelfusion.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "msseg2016", *sys.argv[1:]]))
