"""The client as a transport of httpx2, for whatever is built on that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx2

from switchboard.backends.transports.http_client.client import HttpClient, Target, header_lines
from switchboard.backends.transports.http_client.connection import Answer, Timeouts

FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})


class ClientTransport(httpx2.AsyncBaseTransport):
    """Sends what a client of httpx2 sends."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send; the answer's body is read as it is taken."""
        body = await request.aread()
        headers = [(name.lower(), value) for name, value in request.headers.raw if name.lower() not in FRAMING]
        timeouts = _timeouts(request.extensions.get("timeout", {}))
        answer = await self._client.send(
            Target.of(request.url), request.method.encode("ascii"), header_lines(headers), body, timeouts
        )
        return response(answer)

    async def aclose(self) -> None:
        """Close every connection."""
        self._client.close()


def response(answer: Answer) -> httpx2.Response:
    """An answer as httpx2 has it."""
    return httpx2.Response(answer.status, headers=answer.headers, stream=_Body(answer))


class _Body(httpx2.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while part := await self._answer.part():
            yield part

    async def aclose(self) -> None:
        """Read no more of it."""
        self._answer.close()


def _timeouts(given: Mapping[str, Any]) -> Timeouts:
    usual = Timeouts()
    return Timeouts(given.get("connect", usual.connect), given.get("read", usual.read), given.get("write", usual.write))
