"""Settings for all tests."""

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread():
    """Tiny networks are fastest with one thread, and much slower with several when the machine is busy."""
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)
