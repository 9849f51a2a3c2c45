"""Settings for all tests."""

import os
import sys
from importlib.util import find_spec

import pytest

# the core has to do without ivadomed; what is about ivadomed itself is left out where there is none
collect_ignore = [] if find_spec("ivadomed") else ["hosts/ivadomed2", "attack", "test_activation.py", "test_demo.py"]

# without byte code every start of ivadomed takes twice as long, and the tests start it often
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    """Tiny networks are fastest with one thread, and much slower with several when the machine is busy."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
