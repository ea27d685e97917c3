"""Requests whose answer is one message, sent and read without the streams and tasks of the SDK's transport.

An answer of any other kind (an error, a redirect, a stream on which the server says something first) is not read here:
it is put into the hands of the `FailoverTransport`, which gives it to the SDK's transport in place of sending the
request. So a request is sent once, and whatever is out of the ordinary is dealt with in one place.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import httpx2
from mcp.client.streamable_http import MCP_SESSION_ID
from pydantic_core import from_json, to_json

from switchboard.backends.transports.http import CONNECT_S, CREDENTIAL, READ_S, FailoverTransport
from switchboard.backends.transports.http_client import Answer, Target, Timeouts, header_lines
from switchboard.backends.transports.http_client.adapter import response
from switchboard.errors import CredentialUnavailable
from switchboard.telemetry import spans

TIMEOUTS: Final = Timeouts(CONNECT_S, READ_S, CONNECT_S)

END_OF_STREAM_S: Final = 1.0
"""How long the end of a stream is waited for after its answer, before its connection is closed."""

SPOKEN: Final = {"accept": "application/json, text/event-stream", "content-type": "application/json"}

WRITTEN: Final = frozenset({"host", "content-length", "transfer-encoding"})
"""Headers that follow from the request: what the configuration says of them is not sent, as on the other way."""

KEPT_LINES: Final = 64
LONGEST_LINES: Final = 4_096
"""How many requests' headers are remembered for a connection, and the bytes of the longest that are."""

BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_SESSION: Final = MCP_SESSION_ID.encode("ascii")
_END_OF_EVENT: Final = re.compile(rb"\n\r?\n")


class DirectRequests:
    """Those of one connection to a backend. Satisfies `connections.protocol.DirectRequests`.

    Args:
        http: what the SDK's transport of the same connection sends with: has its headers and cookies.
        max_bytes: bytes of a message.
    """

    def __init__(self, failover: FailoverTransport, http: httpx2.AsyncClient, max_bytes: int) -> None:
        self._failover = failover
        self._http = http
        self._max_bytes = max_bytes
        given = {name.lower(): value for name, value in http.headers.items()}
        self._own = {name: value for name, value in given.items() if name not in WRITTEN} | SPOKEN
        self._lines: dict[tuple[Any, ...], bytes] = {}
        """Headers as they are sent, by the server, the session and what a request adds: most requests add alike."""
        self._target: tuple[httpx2.URL, Target] = (failover.address, Target.of(failover.address))
        """Of the URL that a request went to last."""
        self._waiting: set[Answer] = set()
        self._signs = http.auth is not None or bool(failover.address.userinfo)
        """Whether the SDK's client adds a credential to each request; nothing is sent from here then."""

    async def send(
        self, method: str, params: Mapping[str, Any] | None, number: int | str, headers: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """The result of a request; `None` if the SDK's transport is to send it, which gets what has come already.

        Args:
            number: its id. `settled` is to be called with it in the end.
            headers: beyond those of the connection.
        """
        failover = self._failover
        if self._signs or not all(map(failover.is_direct, failover.urls)):
            return None
        message = {"jsonrpc": "2.0", "id": number, "method": method, **({} if params is None else {"params": params})}
        credential: Mapping[str, str] = {}
        if failover.credentials is not None:
            try:
                credential = await failover.credential(failover.address)
            except CredentialUnavailable:  # the other way words it
                return None
            headers = {**headers, **credential}
        body = to_json(message)
        failover.last_used = time.monotonic()
        try:
            answer, url = await failover.first_to_answer(partial(self._post, headers, body))
        except httpx2.TransportError as error:
            failover.in_hand[number] = error
            return None
        try:
            result = await self._result(answer, number)
            if result is None:
                kept = response(answer)
                kept.extensions[CREDENTIAL] = credential
                failover.in_hand[number] = kept, url
            else:
                failover.note_answer(url, answer.header(_SESSION).decode("latin-1"))
        except BaseException:
            answer.close()
            raise
        finally:
            self._waiting.discard(answer)
        return result

    async def settled(self, number: int | str) -> None:
        """The request is over: what came for it and was not read is closed."""
        left = self._failover.in_hand.pop(number, None)
        if isinstance(left, tuple):
            await left[0].aclose()

    def close(self) -> None:
        """Whoever waits for an answer gets none."""
        for answer in list(self._waiting):
            answer.failed(httpx2.ReadError("the connection was closed"))
            answer.close()

    async def _post(self, headers: Mapping[str, str], body: bytes, url: httpx2.URL) -> tuple[Answer, int]:
        if self._target[0] is not url:
            self._target = url, Target.of(url)
        target = self._target[1]
        lines = self._header_lines(target, headers)
        answer = await self._failover.client.send(target, b"POST", lines, body, TIMEOUTS, self._waiting)
        if any(name == b"set-cookie" for name, _ in answer.headers):
            request = httpx2.Request("POST", url)
            self._http.cookies.extract_cookies(httpx2.Response(answer.status, headers=answer.headers, request=request))
        return answer, answer.status

    def _header_lines(self, target: Target, more: Mapping[str, str]) -> bytes:
        session, varying = self._failover.session, b""
        if spans.PARENT in more:  # of each request its own: nothing to remember
            varying = header_lines([(name.encode(), more[name].encode("ascii")) for name in spans.FIELDS & more.keys()])
            more = {name: value for name, value in more.items() if name not in spans.FIELDS}
        given = (target.authority, session, *more.items())
        lines = self._lines.get(given)
        if lines is None:
            session_header = {} if session is None else {MCP_SESSION_ID: session}
            named = {**self._own, **session_header, **{name.lower(): value for name, value in more.items()}}
            encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in named.items()]
            lines = header_lines([(b"host", target.authority), *encoded])
            if len(self._lines) >= KEPT_LINES:
                self._lines.clear()
            if len(lines) <= LONGEST_LINES:
                self._lines[given] = lines
        if self._http.cookies:
            varying += header_lines([(b"cookie", self._cookies())])
        return lines + varying if varying else lines

    def _cookies(self) -> bytes:
        request = httpx2.Request("POST", self._failover.address)
        self._http.cookies.set_cookie_header(request)
        return request.headers.get("cookie", "").encode("latin-1")

    async def _result(self, answer: Answer, number: int | str) -> dict[str, Any] | None:
        if answer.status != 200 or answer.header(b"content-encoding") not in (b"", b"identity"):
            return None
        kind = answer.header(b"content-type").partition(b";")[0].strip().lower()
        if kind == b"text/event-stream":
            return await self._first_message(answer, number)
        if kind != b"application/json":
            return None
        try:
            body = await answer.whole(self._max_bytes)
        except (httpx2.TransportError, httpx2.StreamError):
            return None
        result = _result_in(body, number)
        if result is None:
            answer.put_back(body)
        return result

    async def _first_message(self, answer: Answer, number: int | str) -> dict[str, Any] | None:
        """The result, if it is the first message on a stream of events."""
        taken, begin, looked = bytearray(), 0, 0
        try:
            while part := await answer.part():
                taken += part
                while end := _END_OF_EVENT.search(taken, max(begin, looked - 2)):
                    data = _data(taken[begin : end.start()])
                    begin = looked = end.end()
                    if not data:
                        continue
                    result = _result_in(data, number) if len(data) <= self._max_bytes else None
                    if result is None:
                        answer.put_back(taken)
                        return None
                    answer.close_unless_over_within(END_OF_STREAM_S)
                    return result
                looked = len(taken)
                if looked > self._max_bytes:  # signs of life, too, are kept until it is known who reads the answer
                    break
        except httpx2.TransportError:
            pass
        answer.put_back(taken)
        return None


def _data(event: bytes | bytearray) -> bytes | bytearray:
    """The data of an event; none for one that is no message."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = [line.rstrip(b"\r").removeprefix(BYTE_ORDER_MARK) for line in event.split(b"\n")]
    if any(line.startswith(b"event:") and line[6:].strip() not in (b"", b"message") for line in lines):
        return b""
    return b"\n".join([line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")])


def _result_in(text: bytes | bytearray, number: int | str) -> dict[str, Any] | None:
    """The result in a message, if it is just the answer to this request."""
    try:
        message = from_json(text)
    except ValueError:
        return None
    if type(message) is not dict or message.get("jsonrpc") != "2.0" or "error" in message or "method" in message:
        return None
    result, answered = message.get("result"), message.get("id")
    return result if type(result) is dict and type(answered) is type(number) and answered == number else None
