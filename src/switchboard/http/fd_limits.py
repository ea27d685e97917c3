"""How many files and sockets this process may have open: every connection and stream takes one."""

from __future__ import annotations

import resource
from typing import Final

ENOUGH: Final = 4096
"""Below this, a busy worker runs out of them before it runs out of anything else."""


WANTED: Final = 65_536
"""What we take when we may. No more: children inherit it, and some walk through all that they might have open."""


def raise_limit() -> int:
    """Take as many as we want and the system lets us; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft == resource.RLIM_INFINITY or soft >= allowed:
        return WANTED if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return allowed


def shortage(limit: int) -> tuple[str, ...]:
    """What to warn of."""
    if limit >= ENOUGH:
        return ()
    return (
        f"This worker may have {limit} files and sockets open, and each connection and stream takes one: beyond that"
        f" nobody can connect. Raise the hard limit to {ENOUGH} or more (ulimit -Hn, LimitNOFILE=, --ulimit nofile=)",
    )
