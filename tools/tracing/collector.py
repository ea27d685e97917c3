"""A collector of spans for tests and pictures: OTLP over HTTP, in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

KINDS = {1: "internal", 2: "server", 3: "client", 4: "producer", 5: "consumer"}


@dataclass(frozen=True)
class Collected:
    """One span as it was sent. Ids are hexadecimal, times nanoseconds of Unix time."""

    trace: str
    id: str
    parent: str
    """Empty for none."""
    name: str
    kind: str
    begin: int
    end: int
    attributes: Mapping[str, Any]
    failed: bool
    description: str
    events: int
    links: tuple[str, ...]
    """Ids of spans."""
    service: str
    instance: str
    scope: str


@dataclass
class Collector:
    """What was sent so far."""

    url: str = ""
    spans: list[Collected] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    """Of each request."""
    _came: threading.Condition = field(default_factory=threading.Condition)

    def take(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Take one request."""
        with self._came:
            self.headers.append(headers)
            self.spans += read(body)
            self._came.notify_all()

    def until(self, holds: Callable[[list[Collected]], bool], seconds: float = 60) -> list[Collected]:
        """All spans, once they are as they should be.

        Raises:
            AssertionError: they never were; says which there are.
        """
        with self._came:
            if not self._came.wait_for(lambda: holds(self.spans), seconds):
                raise AssertionError(
                    "\n".join(f"{each.trace} {each.parent} {each.id} {each.name}" for each in self.spans)
                )
            return list(self.spans)

    def whole(self, trace: str, *names: str, root: str = "") -> list[Collected]:
        """The spans of a trace, once there is one for each of these names and each has its parent, or `root`, there."""

        def of_trace(spans: list[Collected]) -> list[Collected]:
            return [each for each in spans if each.trace == trace]

        def is_whole(spans: list[Collected]) -> bool:
            found = of_trace(spans)
            ids = {root, *(each.id for each in found)}
            return Counter(names) <= Counter(each.name for each in found) and all(each.parent in ids for each in found)

        return of_trace(self.until(is_whole))


def read(body: bytes) -> list[Collected]:
    """The spans in the body of a request."""
    found = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _values(resource.resource.attributes)
        for scope in resource.scope_spans:
            found += [_collected(span, about, scope.scope.name) for span in scope.spans]
    return found


def _collected(span: Any, about: Mapping[str, Any], scope: str) -> Collected:
    return Collected(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=KINDS.get(span.kind, ""),
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes=_values(span.attributes),
        failed=span.status.code == 2,
        description=span.status.message,
        events=len(span.events),
        links=tuple(link.span_id.hex() for link in span.links),
        service=about.get("service.name", ""),
        instance=about.get("service.instance.id", ""),
        scope=scope,
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens on loopback."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(body, {name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
