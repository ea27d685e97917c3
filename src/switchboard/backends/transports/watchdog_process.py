"""The watchdog's process. Run as a script, by itself: it imports nothing but what it needs."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

GRACE_S = 1.0


def watch() -> None:
    """Read which process groups to guard; when the worker's end of the pipe closes, end them."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    for number in (signal.SIGTERM, signal.SIGKILL):
        for group in groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, number)
        if groups and number == signal.SIGTERM:
            time.sleep(GRACE_S)


if __name__ == "__main__":
    watch()
