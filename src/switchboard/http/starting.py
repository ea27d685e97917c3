"""What a worker answers that waits for Redis before it can serve: alive, not ready, and 503 to everything else."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.middleware.guards import PROBES
from switchboard.http.probes import Readiness, health_routes
from switchboard.http.responses import refuse


class Starting:
    """An ASGI application for the time before there is another.

    Args:
        version: of the worker, for `/readyz`.
    """

    def __init__(self, version: str) -> None:
        self.reason = ""
        """Why it cannot serve yet."""
        self._version = version
        self._probes = Starlette(routes=health_routes(self._readiness))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PROBES:
            await self._probes(scope, receive, send)
            return
        headers = ((b"retry-after", str(RETRY_AFTER).encode()),)
        await refuse(scope, send, 503, "This worker is starting; try again soon", headers=headers)

    async def _readiness(self) -> Readiness:
        return Readiness("starting", "redis", "", self._version, {"redis": self.reason})
