"""One row of the table of everything that this plugin touches in ivadomed."""

import sys
from dataclasses import dataclass

from ivadomed_labelfusion.environment import version_numbers


@dataclass(frozen=True)
class Patch:
    """One touched name.

    Attributes:
        module (str): Module of ivadomed.
        name (str): Name in it; ``Class.method`` for a method.
        value (object): The replacement, or with ``wraps`` a function that makes it from the original.
        reason (str): Why.
        wraps (bool): Whether ``value`` is called with the original.
        is_new (bool): Whether the name is added to ivadomed rather than replaced.
        since (str): First version of ivadomed that the row is for.
        until (str or None): First version that does without it.
    """

    module: str
    name: str
    value: object
    reason: str
    wraps: bool = False
    is_new: bool = False
    since: str = "2.9.10"
    until: str | None = None

    def fits(self, version: str) -> bool:
        """Whether the row is for a version of ivadomed."""
        from_here = version_numbers(self.since) <= version_numbers(version)
        return from_here and (self.until is None or version_numbers(version) < version_numbers(self.until))

    @property
    def is_due(self):
        """Whether the row can be applied: scripts do things when they are imported, and wait until somebody does."""
        # each script defines main() at its end, so that it is there when the script is wholly imported
        return not self.module.startswith("scripts.") or hasattr(sys.modules.get(f"ivadomed.{self.module}"), "main")
