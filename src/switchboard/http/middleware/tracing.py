"""A span for each HTTP request, by OpenTelemetry's conventions for HTTP servers; made while somebody collects spans.

Of an address there is but the route: a path or a query may hold a secret.
(https://opentelemetry.io/docs/specs/semconv/http/http-spans/)
"""

from __future__ import annotations

import time
from contextvars import Token
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, set_span_in_context
from starlette.types import Scope

from switchboard.telemetry import spans

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_FIELDS: Final = {name.encode(): name for name in spans.FIELDS}


class HttpSpan:
    """The span of one request: the context of the task that serves it, from here to `end`.

    It is below the context that its headers bring, or else `_meta` of the message in its body, which is known later.
    """

    __slots__ = ("_began", "_is_remote", "_method", "_scope", "_token", "span")

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._began = time.time_ns()
        self._method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        parent = spans.remote(_headers(scope))
        self._is_remote = parent is not None
        self._token: Token[Context] | None = None
        self._begin(parent)

    def _begin(self, parent: SpanContext | None) -> None:
        attributes: spans.Attributes = {"http.request.method": self._method, "url.scheme": self._scope["scheme"]}
        self.span = spans.started(self._method, SpanKind.SERVER, attributes, parent, at=self._began)
        self._token = contexts.attach(set_span_in_context(self.span))

    def adopt(self, meta: dict[str, Any]) -> None:
        """Be below the context that a message brings, if the headers brought none."""
        if self._is_remote or (parent := spans.remote(meta)) is None:
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
        if not span.is_recording():
            return
        route = getattr(self._scope.get("route"), "path", None)
        if isinstance(route, str):
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
        if provider:
            span.set_attribute("switchboard.provider", provider)
        if status:
            span.set_attribute("http.response.status_code", status)
        if not status or status >= 500:
            span.set_attribute(spans.ERROR_TYPE, str(status) if status else "client_left")
            span.set_status(StatusCode.ERROR)
        span.end()

    def _leave(self) -> None:
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None


def adopt(scope: Scope, message: Any) -> None:
    """Let the span of this request be below the context that a message in its body brings."""
    span: HttpSpan | None = scope["state"]["about"].span if "about" in scope.get("state", ()) else None
    params = message.get("params") if span is not None and type(message) is dict else None
    meta = params.get("_meta") if type(params) is dict else None
    if span is not None and type(meta) is dict:
        span.adopt(meta)


def _headers(scope: Scope) -> dict[str, str]:
    """The context in the headers; none if there are several, as W3C Trace Context has it."""
    found = [(_FIELDS[name], value.decode("latin-1")) for name, value in scope["headers"] if name in _FIELDS]
    parents = sum(name == spans.PARENT for name, _ in found)
    if parents != 1:
        return {}
    states = ",".join(value for name, value in found if name == spans.STATE)
    return {**dict(found), spans.STATE: states} if states else dict(found)
