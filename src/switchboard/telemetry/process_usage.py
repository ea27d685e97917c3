"""What this process uses of its machine.

For the metrics in steps, so that an idle process tells the same for a while.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Final

_STATM: Final = Path("/proc/self/statm")
_DESCRIPTORS: Final = Path("/proc/self/fd")
_PAGE: Final = resource.getpagesize()
_STEP: Final = 1 << 20
"""Bytes."""


def resident_bytes() -> int:
    """Memory the process holds now (Linux), or the most it ever held (elsewhere)."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * _PAGE
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def resident_mebibytes() -> int:
    """The same in bytes, in whole MiB."""
    return resident_bytes() // _STEP * _STEP


def cpu_seconds() -> int:
    """CPU time of all its threads so far, in whole seconds: their sum over processes is exact, and never goes back."""
    return int(time.process_time())


def open_descriptors() -> int:
    """Files and sockets it has open; 0 where that cannot be known (elsewhere than on Linux)."""
    return len(os.listdir(_DESCRIPTORS)) if _DESCRIPTORS.exists() else 0
