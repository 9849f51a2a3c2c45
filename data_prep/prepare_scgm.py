#!/usr/bin/env python
"""Convert the raw SCGM challenge download to BIDS: ``prepare_scgm.py RAW OUT [--fuse staple] ...``."""

import sys

from ivadomed_labelfusion.cli import main

if __name__ == "__main__":
    sys.exit(main(["prepare", "scgm", *sys.argv[1:]]))
