"""Spans of OpenTelemetry: what one request did, on this worker, on others and at backends.

While nobody collects them, `on` is false, and nothing is made. Who makes a span asks for it here (`client`, `server`);
there is none where the request is left out by sampling. A span has an error's type or code, never its words: these may
quote what the client sent. Contexts of other processes are those of W3C Trace Context
(https://www.w3.org/TR/trace-context/); one that is malformed is ignored.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Final, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, Tracer, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

PARENT: Final = "traceparent"
STATE: Final = "tracestate"
FIELDS: Final = frozenset({PARENT, STATE})
"""What carries a context: headers, and members of `_meta`."""

ERROR_TYPE: Final = "error.type"

LONGEST: Final = 128
"""Characters of an attribute that a client chose; a longer one is left out."""

Attributes = dict[str, str | int]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_tracers: Final[list[Tracer]] = []
"""One, while spans are collected."""
_roots: Final[list[Roots]] = []
"""Who decides on traces that begin here before they do, if anybody can."""


class LeftOut(NonRecordingSpan):
    """Of a trace that a sampler leaves out: most requests', so its context is made when somebody asks for it."""

    def __init__(self, trace_id: int) -> None:
        self._trace_id = trace_id
        self._made: SpanContext | None = None

    def get_span_context(self) -> SpanContext:
        """The context, which says that it is not sampled."""
        if self._made is None:
            self._made = SpanContext(self._trace_id, random.getrandbits(64) or 1, is_remote=False)
        return self._made


class Roots(Protocol):
    """Decides on a trace that begins here."""

    def left_out(self) -> LeftOut | None:
        """The span of a trace that is left out; `None` for one that is kept, or that the sampler is to decide on."""
        ...


def collect(provider: TracerProvider | None, roots: Roots | None = None) -> None:
    """Give spans to this provider from now on; to nobody for `None`.

    Args:
        roots: who knows what the provider's sampler will say of a trace that begins here.
    """
    _tracers[:] = [] if provider is None else [provider.get_tracer("switchboard")]
    _roots[:] = [] if roots is None else [roots]


def on() -> bool:
    """Whether anybody collects spans."""
    return bool(_tracers)


def current() -> SpanContext | None:
    """The context in which this task runs, if there is one."""
    found = trace.get_current_span().get_span_context()
    return found if found.is_valid else None


def remote(carrier: Mapping[str, Any]) -> SpanContext | None:
    """The context that headers or `_meta` bring; `None` for none, and for one that is malformed."""
    parent, state = carrier.get(PARENT), carrier.get(STATE)
    if type(parent) is not str:
        return None
    given = {PARENT: parent, STATE: state} if type(state) is str else {PARENT: parent}
    found = trace.get_current_span(_PROPAGATOR.extract(given)).get_span_context()
    return found if found.is_valid else None


def carried() -> dict[str, str]:
    """What brings the context of this task to another process; empty where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier


class ActiveSpan:
    """A span that is the context of what runs while it is entered, and ends when it is left.

    One that was kept open goes on when it is entered again.
    """

    __slots__ = ("_failed", "_kept", "_token", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self._failed = self._kept = False
        self._token: Token[Context] | None = None

    def __enter__(self) -> ActiveSpan:
        self._kept = False
        self._token = contexts.attach(trace.set_span_in_context(self.span))
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self._token is not None:
            contexts.detach(self._token)
            self._token = None
        if self._kept:
            return
        if error is not None:
            self.failed(error)
        self.span.end()

    def keep_open(self) -> None:
        """Do not end it when it is left: there is more to come."""
        self._kept = True

    def failed(self, error: BaseException | str) -> None:
        """Say what kind of error there was, its code if it is one of JSON-RPC; the first that is said counts."""
        if self._failed:
            return
        self._failed = True
        code = getattr(getattr(error, "error", None), "code", None)
        if isinstance(code, int):
            self.span.set_attribute("rpc.response.status_code", str(code))
        kind = error if isinstance(error, str) else type(error).__qualname__
        self.span.set_attribute(ERROR_TYPE, kind if code is None else str(code))
        self.span.set_status(StatusCode.ERROR)


def left_out() -> LeftOut | None:
    """The span of a trace that begins here, if the sampler is known to leave it out."""
    return _roots[0].left_out() if _roots else None


def started(
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    parent: SpanContext | None = None,
    links: tuple[SpanContext, ...] = (),
    at: int | None = None,
) -> Span:
    """A span below `parent`, or else below the context of this task; one that records nothing if it is left out.

    Args:
        at: when it began, in nanoseconds of Unix time.
    """
    context = None if parent is None else trace.set_span_in_context(NonRecordingSpan(parent))
    return _tracers[0].start_span(name, context, kind, attributes, [Link(each) for each in links], at)


def server(
    name: str, attributes: Attributes, parent: SpanContext | None = None, links: tuple[SpanContext, ...] = ()
) -> ActiveSpan | None:
    """A span for what this worker does for somebody; `None` while it is off, and below a span that was left out."""
    if not _tracers or (parent is None and is_left_out()):
        return None
    return ActiveSpan(started(name, SpanKind.SERVER, attributes, parent, links))


def client(name: str, attributes: Attributes) -> ActiveSpan | None:
    """A span for what this worker has somebody else do; `None` while it is off, and below a span that was left out."""
    if not _tracers or is_left_out():
        return None
    return ActiveSpan(started(name, SpanKind.CLIENT, attributes))


def is_left_out() -> bool:
    """Whether a sampler has decided against this task's trace: it would for every span of it."""
    span = trace.get_current_span()
    if type(span) is LeftOut:
        return True
    found = span.get_span_context()
    return found.is_valid and not found.trace_flags.sampled
