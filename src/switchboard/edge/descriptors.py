"""How many files and sockets this process may have open: every connection and stream takes one."""

from __future__ import annotations

import resource
from typing import Final

ENOUGH: Final = 4096
"""Below this, a busy worker runs out of them before it runs out of anything else."""


def raise_limit() -> int:
    """Take as many as the system lets us; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return hard
    return soft if soft != resource.RLIM_INFINITY else ENOUGH


def shortage(limit: int) -> tuple[str, ...]:
    """What to warn of."""
    if limit >= ENOUGH:
        return ()
    return (
        f"This worker may have {limit} files and sockets open, and each connection and stream takes one: beyond that"
        f" nobody can connect. Raise the hard limit to {ENOUGH} or more (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)",
    )
