"""The endpoint `/metrics`: the numbers of this host, to be read.

The library that writes them is imported when somebody asks for the first time: most workers are never asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from switchboard.telemetry.metrics import Snapshot

PATH: Final = "/metrics"


class Metrics:
    """The endpoint; who may see it is decided before.

    Args:
        together: gives the numbers to tell.
    """

    def __init__(self, together: Callable[[], Awaitable[Snapshot]]) -> None:
        self._together = together

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if request.method not in ("GET", "HEAD"):
            await Response(status_code=405, headers={"allow": "GET, HEAD"})(scope, receive, send)
            return
        values = await self._together()
        body, kind = await asyncio.to_thread(_written, values, request.headers.get("accept", ""))
        await Response(body, headers={"content-type": kind})(scope, receive, send)


def _written(values: Snapshot, accept: str) -> tuple[bytes, str]:
    from switchboard.telemetry.formats import written

    return written(values, accept)
