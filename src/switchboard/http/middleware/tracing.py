"""A span for each HTTP request, by OpenTelemetry's conventions for HTTP servers; made while somebody collects spans.

Of an address there is but the route: a path or a query may hold a secret.
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextvars import Token
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode, set_span_in_context
from starlette.types import Scope

from switchboard.telemetry import spans

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_FIELDS: Final = {name.encode(): name for name in spans.FIELDS}
_PARENT: Final = spans.PARENT.encode()


class HttpSpan:
    """The span of one request: the context of the task that serves it, from here to `end`.

    It is below the context that its headers bring, or else `_meta` of the message in its body, which is known later.

    Args:
        found: its headers, if it has none of a name twice.
    """

    __slots__ = ("_began", "_is_remote", "_scope", "_token", "span")

    def __init__(self, scope: Scope, found: Mapping[bytes, bytes] | None = None) -> None:
        self._scope = scope
        self._began = time.time_ns()
        is_told = found is None or _PARENT in found
        parent = spans.remote(_headers(scope["headers"])) if is_told else None
        self._is_remote = parent is not None
        self._token: Token[Context] | None = None
        self._begin(parent)

    def _begin(self, parent: SpanContext | None) -> None:
        left = spans.left_out() if parent is None else None
        self.span = self._started(parent) if left is None else left
        self._token = contexts.attach(set_span_in_context(self.span))

    def _started(self, parent: SpanContext | None) -> Span:
        attributes: spans.Attributes = {"http.request.method": self._method, "url.scheme": self._scope["scheme"]}
        return spans.started(self._method, SpanKind.SERVER, attributes, parent, at=self._began)

    @property
    def _method(self) -> str:
        method: str = self._scope["method"]
        return method if method in _METHODS else "_OTHER"

    def adopt(self, meta: dict[str, Any]) -> None:
        """Be below the context that a message brings, if the headers brought none."""
        if self._is_remote or spans.PARENT not in meta or (parent := spans.remote(meta)) is None:
            return
        self._is_remote = True
        self._leave()
        self._begin(parent)  # the other span, which nothing is below yet, is not ended, and so never sent

    def end(self, status: int, provider: str) -> None:
        """Its answer has ended.

        Args:
            status: 0 for none: its client left.
            provider: whose tool it called, as configured.
        """
        self._leave()
        span = self.span
        if type(span) is spans.LeftOut or not span.is_recording():
            return
        told: spans.Attributes = {"http.response.status_code": status} if status else {}
        route = getattr(self._scope.get("route"), "path", None)
        if isinstance(route, str):
            span.update_name(f"{self._method} {route}")
            told["http.route"] = route
        if provider:
            told["switchboard.provider"] = provider
        if not status or status >= 500:
            told[spans.ERROR_TYPE] = str(status) if status else "client_left"
            span.set_status(StatusCode.ERROR)
        span.set_attributes(told)
        span.end()

    def _leave(self) -> None:
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None


def adopt(scope: Scope, message: Any) -> None:
    """Let the span of this request be below the context that a message in its body brings."""
    state = scope.get("state")
    span: HttpSpan | None = state["about"].span if state and "about" in state else None
    params = message.get("params") if span is not None and type(message) is dict else None
    meta = params.get("_meta") if type(params) is dict else None
    if span is not None and type(meta) is dict:
        span.adopt(meta)


def _headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The context in headers; none if there are several, as W3C Trace Context has it."""
    found = [(_FIELDS[name], value.decode("latin-1")) for name, value in headers if name in _FIELDS]
    if sum(name == spans.PARENT for name, _ in found) != 1:
        return {}
    states = ",".join(value for name, value in found if name == spans.STATE)
    return {**dict(found), spans.STATE: states} if states else dict(found)
