"""Following ivadomed's output: everything into a log file, epochs onto a progress bar."""

import os
import re
import threading
from collections.abc import Callable

_EPOCH = re.compile(r"Epoch (\d+) took")


class FollowedOutput:
    """File object for ivadomed's output.

    Args:
        path: Log file, appended to.
        on_epoch: Called with the number of each finished epoch.
    """

    encoding = "utf-8"

    def __init__(self, path: str | os.PathLike[str], on_epoch: Callable[[int], object]) -> None:
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115  closed by close()
        self._on_epoch = on_epoch
        self._line = ""
        self._last = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write to the log and look for finished epochs."""
        with self._lock:
            self._file.write(text)
            *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            if line.strip():
                self._last = line.strip()
            found = _EPOCH.search(line)
            if found:
                self._on_epoch(int(found.group(1)))
        return len(text)

    def flush(self) -> None:
        """Flush the log."""
        self._file.flush()

    def isatty(self) -> bool:
        """Return False: progress bars of ivadomed go into a file."""
        return False

    def last_line(self) -> str:
        """Return the last line that was not empty."""
        return self._last

    def close(self) -> None:
        """Close the log."""
        self._file.close()
