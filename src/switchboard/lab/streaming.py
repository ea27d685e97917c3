"""An answer whose stream ends before it has come, and its rest for whoever resumes the stream (Streamable HTTP,
2025-11-25, "Resumability and Redelivery").

Nothing is kept: the id of the event that comes before the end says which request the rest answers.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

NO_RESUMING: Final = "2026-07-28"
"""The revision since which streams are not resumed."""

RETRY_MS: Final = 200
"""When a client may resume."""

MOST_ID: Final = 400
_HEADERS: Final = {"Cache-Control": "no-store", "Content-Type": "text/event-stream"}


def cut(message: Mapping[str, Any]) -> Response:
    """The stream that ends: one event without data, whose id a client resumes with."""
    event = base64.urlsafe_b64encode(json.dumps(message.get("id")).encode()).decode()
    return Response(f"id: {event}\nretry: {RETRY_MS}\ndata: \n\n", headers=_HEADERS)


def resumed(last_event: str) -> Response:
    """The answer that did not come; 405 for a GET that resumes nothing, since there is no other stream."""
    try:
        asked = json.loads(base64.urlsafe_b64decode(last_event[:MOST_ID]))
    except ValueError:
        asked = None
    if type(asked) not in (int, str):
        return Response(status_code=405, headers={"Allow": "POST"})
    text = "This is what you may read."
    result = {"content": [{"type": "text", "text": text}], "structuredContent": {"result": text}, "isError": False}
    answer = {"jsonrpc": "2.0", "id": asked, "result": result}
    return Response(f"id: {last_event[:MOST_ID]}\ndata: {json.dumps(answer)}\n\n", headers=_HEADERS)
