"""Reading what others publish: another version of us, or anybody who may write to this Redis.

What is not understood is nobody's fault here, and must end nothing: a task that trips over it would end its worker.
"""

from __future__ import annotations

import json
from typing import Any


def parsed(payload: str, *, sendable: bool = True) -> dict[str, Any] | None:
    """The JSON object in a payload; `None` for anything else.

    Args:
        sendable: whether it must hold no half of a surrogate, which can be part of no key and no message.
    """
    try:
        found = json.loads(payload) if payload else None
        if not isinstance(found, dict):
            return None
        if sendable:
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found
