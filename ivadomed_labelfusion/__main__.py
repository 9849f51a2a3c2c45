"""``python -m ivadomed_labelfusion``."""

import sys

from ivadomed_labelfusion.cli import main

sys.exit(main())
