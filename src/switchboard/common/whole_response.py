"""Sending a whole response at once, past the two messages of ASGI: for the small answers that most requests have.

An extension of ASGI that our server offers in the scope of each request. A leaf. uvicorn looks at every header of a
response by two expressions, and once more for what they mean; here the lines of a head are written as they are given.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

WHOLE_RESPONSE: Final = "switchboard.whole_response"
"""Its name, under which a request has its `WholeResponse`."""


class WholeResponse:
    """Sends one whole response of a request: what uvicorn does for its two messages, which look at each header twice.

    Args:
        cycle: uvicorn's, of that request.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self, status: int, head: bytes, body: bytes) -> None:
        """Send it.

        Args:
            head: the lines of all headers, Content-Length among them, without the empty one; right as they are.
        """
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("a response has begun already")
        cycle.response_started, cycle.waiting_for_100_continue = True, False
        lines = [STATUS_LINE[status], *(b"%b: %b\r\n" % header for header in cycle.default_headers), head]
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        lines.append(b"\r\n")
        if cycle.scope["method"] != "HEAD":
            lines.append(body)
        cycle.transport.write(b"".join(lines))
        cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()

    def close(self) -> None:
        """Let no further request follow on the connection."""
        self._cycle.keep_alive = False


def offer(scope: Any, cycle: RequestResponseCycle) -> None:
    """Have a request's scope say that its response can be sent so."""
    scope.setdefault("extensions", {})[WHOLE_RESPONSE] = WholeResponse(cycle)
