"""Is the process alive (`/healthz`), and should a balancer send it requests (`/readyz`)?

Owns also what a worker answers before it can serve (`Starting`), and how a draining one has connections closed.

Losing Redis does not make a worker unready: every worker would leave the balancer at once, and with them the requests
that need no shared state. Draining does, and starting: who waits for Redis then has nothing to serve yet.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.http.middleware.bearer import RETRY_AFTER
from switchboard.http.middleware.guards import PROBES
from switchboard.http.responses import refuse

CLOSE: Final = (b"connection", b"close")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a worker says about itself."""

    status: Literal["starting", "ready", "degraded", "draining"]
    state: Literal["memory://", "redis"]
    worker: str
    version: str = ""
    details: Mapping[str, object] = field(default_factory=dict)
    """What is degraded, for people; nothing secret."""
    warnings: Sequence[str] = ()
    """What works, but may lose what it holds; nothing secret."""


def health_routes(readiness: Callable[[], Awaitable[Readiness]], base_path: str = "") -> list[Route]:
    """The two probes, at the root and below `base_path`; `readiness` must answer in time and never raise."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        now = await readiness()
        return JSONResponse(asdict(now), status_code=503 if now.status in ("starting", "draining") else 200)

    return [
        Route(place + path, probe, methods=["GET"])
        for place in dict.fromkeys(("", base_path))
        for path, probe in (("/healthz", healthz), ("/readyz", readyz))
    ]


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


class LastRequests:
    """Adds `Connection: close` where no further request may follow: to streams, and to all while the worker drains.

    A stream ends when its worker drains. Were its connection kept by a balancer, the next request would be sent into it
    just as it closes, and could not be repeated. While a worker drains, the next connection reaches another one.
    """

    def __init__(self) -> None:
        self.draining = False

    def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return app(scope, receive, Closing(self, send))


class Closing:
    """The way out of `LastRequests`.

    Attributes:
        send: what it sends by; for whoever adds the header itself.
    """

    __slots__ = ("_requests", "send")

    def __init__(self, requests: LastRequests, send: Send) -> None:
        self._requests = requests
        self.send = send

    @property
    def draining(self) -> bool:
        """Whether no further request may follow on this connection, whatever is answered."""
        return self._requests.draining

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message["headers"])
            stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
            if (self.draining or stream) and b"connection" not in headers:
                message = {**message, "headers": [*message["headers"], CLOSE]}
        await self.send(message)
