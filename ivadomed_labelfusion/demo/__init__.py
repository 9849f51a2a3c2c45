"""The demo: six candidates trained, tested and compared on a generated dataset by the real ivadomed."""

from ivadomed_labelfusion.demo.run import run_demo

__all__ = ["run_demo"]
