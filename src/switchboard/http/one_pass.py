"""The way in for ordinary HTTP requests: what the table of `stack` decides in a dozen frames, decided in one.

Ordinary is what clients and agents send all day: no header twice, no `Origin`, a declared body within bounds, on a
worker that is not overloaded. Everything else, probes and WebSockets too, goes to the table. That is decided before
anything was counted or logged; from then on the request is answered here, in the order of the table and in its words,
each answer through one wrapper. Trusted proxies stand before both.

| looked at | and refused with |
|---|---|
| `Host` | 421 |
| the quota of the address | 429 |
| the path | 404 |
| for the protocol endpoint: the token, then the quota of its principal | 401 and others of `bearer`; 429 |
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from switchboard.common.hosts import HostPatterns
from switchboard.common.http_bounds import WHOLE_RESPONSE, WholeResponse
from switchboard.common.networks import bucket_of
from switchboard.common.quota import Quota
from switchboard.http.event_stream import expect_rest, rest_of
from switchboard.http.jsonrpc import BEGUN
from switchboard.http.landing import opened_by_browser
from switchboard.http.middleware import errors, rate_limit
from switchboard.http.middleware.access import About
from switchboard.http.middleware.bearer import Gate, Refused, digest_of
from switchboard.http.middleware.guards import FOREIGN_HOST
from switchboard.http.middleware.load_shedding import Load
from switchboard.http.middleware.rate_limit import COUNTED, Counting, Permits, RateLimited
from switchboard.http.middleware.request_log import HEADER, log_request, named
from switchboard.http.middleware.security_headers import SecurityDefaults
from switchboard.http.middleware.tracing import HttpSpan
from switchboard.http.probes import CLOSE, Closing
from switchboard.http.responses import Headers, refuse
from switchboard.http.stack import Policy
from switchboard.identity import serving
from switchboard.log import request_id
from switchboard.telemetry import spans

_LONGEST_HOST: Final = 260
_LONGEST_PATH: Final = 260
_LONGEST_NUMBER: Final = 18
_BROKEN_LINE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]").search
_HANDSHAKE: Final = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS) | {None}
_NOT_FOUND: Final = PlainTextResponse("Not Found", 404)
_BROKEN: Final = PlainTextResponse("Internal Server Error", 500)
"""What Starlette answers to either."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The protocol endpoint.

    Args:
        route: where it stands in the table.
        app: what serves it, within the gate and the quota of principals.
        gate: who may come in.
        begin: starts to read the record of a session.
    """

    route: Route
    app: ASGIApp
    gate: Gate
    begin: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Limits:
    """What is counted, and when nothing is served."""

    load: Load
    permits: Permits
    addresses: Quota
    principals: Quota


class OnePass:
    """Serves ordinary requests; others go to `table`, which stands around `router`."""

    def __init__(self, table: ASGIApp, router: Starlette, policy: Policy, limits: Limits, protocol: Protocol) -> None:
        self.table = table
        self._router = router
        self._policy = policy
        self._load = limits.load
        self._protocol = protocol
        self._path = protocol.route.path
        self._hosts = HostPatterns(policy.hosts)
        self._ours = lru_cache(maxsize=1024)(self._is_ours)
        self._security = SecurityDefaults(https=policy.https)
        self._address = lru_cache(maxsize=4096)(
            lambda host: Counting(limits.permits, limits.addresses, bucket_of(host))
        )
        self._principal = lru_cache(maxsize=4096)(
            lambda principal: Counting(limits.permits, limits.principals, digest_of(principal))
        )
        plain = (route.path for route in router.routes if isinstance(route, Route) and not route.param_convertors)
        self._exact = frozenset(plain)
        self._known = lru_cache(maxsize=1024)(self._is_known)
        self._patterns = [route for route in router.routes if not isinstance(route, Route) or route.param_convertors]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._ordinary(scope)
        if found is None:
            await self.table(scope, receive, send)
            return
        began = time.perf_counter()
        name = named(found.get(HEADER))
        state = scope.setdefault("state", {})
        about = state["about"] = About(self._policy.tool_of)
        if spans.on():
            about.span = HttpSpan(scope, found)
        expect_rest(state)
        answer = Answer(send, self._security, name, scope.get("extensions"))
        bound = request_id.set(name.decode("ascii"))
        try:
            await self._serve(found, scope, receive, answer)
            if (rest := rest_of(state)) is not None:
                await rest.send(answer)
        except Exception:
            answer.status = answer.status or 500
            raise
        finally:
            log_request(scope, about, answer.status, time.perf_counter() - began)
            request_id.reset(bound)

    def _ordinary(self, scope: Scope) -> dict[bytes, bytes] | None:
        """The headers of an ordinary request; `None` for any other."""
        if scope["type"] != "http" or scope["path"] in self._policy.probes or scope.get("root_path"):
            return None
        found = dict(scope["headers"])
        length = found.get(b"content-length", b"0")
        if (
            len(found) != len(scope["headers"])
            or b"origin" in found
            or b"transfer-encoding" in found
            or b"host" not in found
            or self._load.overload is not None
            or (scope["method"] != "POST" and scope["path"] == self._path and opened_by_browser(scope))
            or len(length) > _LONGEST_NUMBER
            or not length.isdigit()
            or int(length) > self._policy.max_body_bytes
        ):
            return None
        return found

    async def _serve(self, found: dict[bytes, bytes], scope: Scope, receive: Receive, answer: Answer) -> None:
        host = found[b"host"]
        if not (self._ours(host) if len(host) <= _LONGEST_HOST else self._is_ours(host)):
            await refuse(scope, answer, *FOREIGN_HOST)
            return
        counted = scope["state"][COUNTED] = []
        if client := scope.get("client"):
            counting = self._address(client[0])
            if not (counting.spend_held() or await _drawn(counting, scope, answer)):
                return
            counted.append(counting)
        path = scope["path"]
        if path == self._path:
            await self._serve_protocol(found, scope, receive, answer)
        elif self._known(path) if len(path) <= _LONGEST_PATH else self._is_known(path):
            await self._router(scope, receive, answer)
        else:
            await _NOT_FOUND(scope, receive, answer)

    async def _serve_protocol(self, found: dict[bytes, bytes], scope: Scope, receive: Receive, answer: Answer) -> None:
        protocol, state = self._protocol, scope["state"]
        scope["app"], scope["router"] = self._router, self._router.router
        scope["route"], scope["endpoint"], scope["path_params"] = protocol.route, protocol.route.endpoint, {}
        try:
            sent = found.get(b"authorization")
            verdict = protocol.gate.admit(scope["query_string"], () if sent is None else (sent,))
            sid = found.get(b"mcp-session-id")
            if sid is not None and found.get(b"mcp-protocol-version") in _HANDSHAKE:
                state[BEGUN] = protocol.begin(sid.decode("latin-1"))
            caller = await verdict
            protocol.gate.note(caller, scope)
            with serving(caller):
                counting = self._principal(caller.principal)
                if not (counting.spend_held() or await _drawn(counting, scope, answer)):
                    return
                state[COUNTED].append(counting)
                try:
                    await protocol.app(scope, receive, answer)
                except Exception as error:  # as `ErrorBoundary` has it
                    if answer.status:
                        raise
                    await errors.answer(error, scope, answer)
        except Refused as refused:
            await refused.answer(scope, answer)
        except Exception:
            if not answer.status:
                await _BROKEN(scope, receive, answer)
            raise

    def _is_ours(self, host: bytes) -> bool:
        return host.decode("latin-1") in self._hosts

    def _is_known(self, path: str) -> bool:
        """Whether a route may serve it, or redirect to one that does."""
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        return (
            path in self._exact
            or other in self._exact
            or "\n" in path  # which the patterns of routes allow at the end
            or any(_may_match(route, path) or _may_match(route, other) for route in self._patterns)
        )


def _may_match(route: BaseRoute, path: str) -> bool:
    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "path_params": {}}
    return route.matches(scope)[0] is not Match.NONE


async def _drawn(counting: Counting, scope: Scope, answer: Send) -> bool:
    """Count the request by a permit that has to be drawn first; whether it may go on, else it is answered."""
    try:
        await counting.spend(1)
    except RateLimited as limited:
        await rate_limit.answer(limited, scope, answer)
        return False
    return True


class Answer:
    """The one wrapper on the way out: remembers the status, adds the headers of every answer."""

    __slots__ = ("_name", "_security", "_send", "_whole", "status")

    def __init__(self, send: Send, security: SecurityDefaults, name: bytes, extensions: dict[str, Any] | None) -> None:
        self._send = send
        self._whole: WholeResponse | None = extensions.get(WHOLE_RESPONSE) if extensions else None
        self._security = security
        self._name = name
        self.status = 0
        """0 until it was answered."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = self._security.added_to(message.get("headers", ()))
            headers.append((HEADER, self._name))
            message = {**message, "headers": headers}
        await self._send(message)

    async def whole(self, status: int, body: bytes, content_type: bytes, headers: Headers) -> None:
        """Send one whole response, which is no page; `headers` are in lower case."""
        self.status = status
        send, close = self._send, False
        if isinstance(send, Closing):
            close, send = send.draining, send.send
        if self._whole is not None and _are_lines(headers) and not self._security.says_any(headers):
            head = b"content-type: %b\r\ncontent-length: %d\r\n" % (content_type, len(body))
            for header in headers:
                head += b"%b: %b\r\n" % header
            head += b"%b%b: %b\r\n" % (self._security.lines_of_json, HEADER, self._name)
            if close:
                self._whole.close()
            await self._whole(status, head, body)
            return
        fixed, length = (b"content-type", content_type), (b"content-length", b"%d" % len(body))
        said = [fixed, length, *headers, *self._security.of_json(headers), (HEADER, self._name)]
        if close:
            said.append(CLOSE)
        await send({"type": "http.response.start", "status": status, "headers": said})
        await send({"type": "http.response.body", "body": body})


def _are_lines(headers: Headers) -> bool:
    """Whether nothing in these headers would end their lines; what is odd is left to the server to refuse."""
    return not any(_BROKEN_LINE(value) for _, value in headers)
