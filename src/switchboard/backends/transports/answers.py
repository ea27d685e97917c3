"""Answers of HTTP servers as JSON-RPC: bounded, and with the reason when they are none."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator
from typing import Final

import httpx2

from switchboard.backends.errors import ACCESS_REFUSED, BACKEND_UNAVAILABLE, BAD_GATEWAY, SESSION_FORGOTTEN

SHOWN_BYTES: Final = 200
ERROR_BYTES: Final = 65_536
ACCESS_STATUSES: Final = frozenset({401, 403, 407})
"""Answers to a credential that is missing or wrong."""

PASSING_STATUSES: Final = frozenset({408, 429})
"""What a client can do nothing about by speaking another protocol version; other 4xx may mean just that."""


class BoundedBody(httpx2.AsyncByteStream):
    """A body of at most so many bytes."""

    def __init__(self, inner: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._inner = inner
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        try:
            async for chunk in self._inner:
                size += len(chunk)
                if size > self._max_bytes:
                    raise httpx2.StreamError(f"it sent a message of more than {self._max_bytes} bytes")
                yield chunk
        except httpx2.TransportError as error:
            raise httpx2.StreamError(reason(error)) from error

    async def aclose(self) -> None:
        """Close the connection's stream."""
        await self._inner.aclose()


def refusal(status: int, code: int, message: str) -> httpx2.Response:
    """An answer of our own: a JSON-RPC error, which the SDK gives to the one request."""
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return httpx2.Response(status, headers={"content-type": "application/json"}, content=json.dumps(body).encode())


async def beginning(response: httpx2.Response) -> bytes:
    """As much of a body as an explanation needs."""
    text = b""
    try:
        async for chunk in response.aiter_raw():
            text += chunk
            if len(text) > ERROR_BYTES:
                break
    except httpx2.TransportError:
        return b""
    finally:
        await response.aclose()
    return text


def forgotten() -> httpx2.Response:
    """The answer of a server that does not know the session any more."""
    return refusal(404, SESSION_FORGOTTEN, "its session expired")


def explained(response: httpx2.Response, body: bytes) -> httpx2.Response:
    """An answer with an error status: a JSON-RPC error as it is, anything else (a proxy's page, say) as one."""
    status = response.status_code
    if status in ACCESS_STATUSES:
        return refusal(status, ACCESS_REFUSED, _told(status, body, response.reason_phrase))
    try:
        if "error" in json.loads(body) and b'"jsonrpc"' in body:
            return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)
    except (ValueError, TypeError):
        pass
    wrong_era = 400 <= status < 500 and status not in PASSING_STATUSES
    code = BAD_GATEWAY if wrong_era else BACKEND_UNAVAILABLE
    return refusal(status, code, _told(status, body, response.reason_phrase))


def _told(status: int, body: bytes, phrase: str) -> str:
    said = " ".join(body[:SHOWN_BYTES].decode(errors="replace").split()) or phrase
    return f"HTTP {status} {said}".strip()


def complaint(response: httpx2.Response) -> str:
    """What a refusal says; nothing if it has yet to be read."""
    try:
        return str(json.loads(response.content)["error"]["message"])
    except (ValueError, KeyError, TypeError, httpx2.StreamError):
        return f"HTTP {response.status_code}"


def reason(error: Exception) -> str:
    """What went wrong on the network, for people."""
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLError) or "certificate" in str(error).lower():
        return f"the certificate was not accepted: {error}"
    return str(error) or type(error).__name__


def shown(url: httpx2.URL) -> str:
    """A URL without what may be secret in it."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))
