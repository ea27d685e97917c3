"""Which log messages a client wants (RFC 5424 severities)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from mcp_types import LoggingLevel

DEFAULT_LEVEL: Final[LoggingLevel] = "info"
"""What a session gets that never sent `logging/setLevel`."""

_SEVERITY: Final = {level: rank for rank, level in enumerate(get_args(LoggingLevel))}


def wanted(level: LoggingLevel | None, method: str, params: Mapping[str, Any] | None) -> bool:
    """Whether a notification may go to a client whose level is `level`; only log messages are ever held back."""
    if method != "notifications/message":
        return True
    threshold = _SEVERITY[level or DEFAULT_LEVEL]
    return _SEVERITY.get((params or {}).get("level", "emergency"), threshold) >= threshold
