"""Where spans go: OTLP over HTTP, in batches, by a thread of OpenTelemetry's SDK. The event loop never waits for it.

The SDK is the extra `otel`. What is not in `Exporting` the SDK reads from the environment by its standard names
(https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry import trace
from opentelemetry.trace import ProxyTracerProvider

from switchboard.errors import ConfigurationError
from switchboard.telemetry import spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.sdk.trace.id_generator import IdGenerator
    from opentelemetry.sdk.trace.sampling import Sampler

log = structlog.get_logger(__name__)

SAMPLERS: Final = (
    *("always_on", "always_off", "traceidratio"),
    *("parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"),
)

FLUSH_S: Final = 5.0
"""How long a worker that ends waits for its last spans to be sent."""

SDK_SCOPE: Final = "mcp-python-sdk"
"""By which the MCP SDK names spans that are its own."""


@dataclass(frozen=True, slots=True)
class Exporting:
    """What is collected, and where it goes.

    Args:
        service: the name of the service.
        version: its version.
        endpoint: the URL that spans are posted to; empty for the SDK's default.
        headers: `name=value` with commas between, values percent-encoded, as in OTEL_EXPORTER_OTLP_HEADERS.
        sampler: one of `SAMPLERS`.
        ratio: of traces that are kept, for the samplers that go by one.
    """

    service: str
    version: str
    endpoint: str = ""
    headers: str = ""
    sampler: str = "parentbased_always_on"
    ratio: float = 1.0


@asynccontextmanager
async def collecting(exporting: Exporting | None, worker: str) -> AsyncIterator[None]:
    """Collect spans until the context ends, and then send what is left.

    A provider that the process has already, by `opentelemetry-instrument` or OTEL_PYTHON_TRACER_PROVIDER, is used as
    it is, and is not ended here.

    Args:
        exporting: `None` for no export of our own.
        worker: the id of this worker.

    Raises:
        ConfigurationError: the SDK is not installed, or cannot be set up.
    """
    found = trace.get_tracer_provider()
    if not isinstance(found, ProxyTracerProvider):
        spans.collect(found)
        try:
            yield
        finally:
            spans.collect(None)
    elif exporting is None:
        yield
    else:
        provider, roots = _provider(exporting, worker)
        trace.set_tracer_provider(provider)
        spans.collect(provider, roots)
        log.info("traces.exported", sampler=exporting.sampler)
        try:
            yield
        finally:
            spans.collect(None)
            await _ended(provider)


def _provider(exporting: Exporting, worker: str) -> tuple[TracerProvider, spans.Roots | None]:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.util.re import parse_env_headers
    except ImportError:
        raise ConfigurationError(
            "OTEL_TRACES_EXPORTER is otlp, but OpenTelemetry's SDK is not installed:"
            " install mcp-switchboard[otel], or set OTEL_TRACES_EXPORTER=none"
        ) from None
    about = {"service.name": exporting.service, "service.version": exporting.version, "service.instance.id": worker}
    headers = parse_env_headers(exporting.headers, liberal=True) or None
    exporter = OTLPSpanExporter(endpoint=exporting.endpoint or None, headers=headers)
    ids, roots = ids_for(ratio_of(exporting.sampler, exporting.ratio))
    provider = TracerProvider(
        sampler=sampler_of(exporting.sampler, exporting.ratio),
        resource=Resource.create({}).merge(Resource(about)),
        shutdown_on_exit=False,
        id_generator=ids,
    )
    provider.add_span_processor(BatchSpanProcessor(without_words(exporter)))
    return provider, roots


def ratio_of(name: str, ratio: float) -> float:
    """The share of traces that begin here and that a sampler keeps."""
    plain = name.removeprefix("parentbased_")
    return ratio if plain == "traceidratio" else float(plain == "always_on")


def ids_for(ratio: float) -> tuple[IdGenerator, spans.Roots]:
    """What makes ids, and knows by the id of a trace, before it begins, that a sampler of this ratio leaves it out."""
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

    bound, low = TraceIdRatioBased.get_bound_for_rate(ratio), TraceIdRatioBased.TRACE_ID_LIMIT

    class Ids(RandomIdGenerator):
        kept: int | None = None
        """What was drawn for the trace that begins now."""

        def left_out(self) -> spans.LeftOut | None:
            drawn = super().generate_trace_id()
            if drawn & low >= bound:
                return spans.LeftOut(drawn)
            self.kept = drawn
            return None

        def generate_trace_id(self) -> int:
            kept, self.kept = self.kept, None
            return super().generate_trace_id() if kept is None else kept

    ids = Ids()
    return ids, ids


def sampler_of(name: str, ratio: float) -> Sampler:
    """The sampler of one of the names in `SAMPLERS`."""
    from opentelemetry.sdk.trace import sampling

    by_name = {
        "always_on": sampling.ALWAYS_ON,
        "always_off": sampling.ALWAYS_OFF,
        "traceidratio": sampling.TraceIdRatioBased(ratio),
    }
    root = by_name[name.removeprefix("parentbased_")]
    return sampling.ParentBased(root) if name.startswith("parentbased_") else root


def without_words(exporter: SpanExporter) -> SpanExporter:
    """An exporter that leaves out, of the MCP SDK's own spans, what an error said: it may quote arguments."""
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
    from opentelemetry.trace import Status

    def bare(span: ReadableSpan) -> ReadableSpan:
        scope = span.instrumentation_scope
        if scope is None or scope.name != SDK_SCOPE or not (span.events or span.status.description):
            return span
        return ReadableSpan(
            span.name,
            span.context,
            span.parent,
            span.resource,
            span.attributes,
            links=span.links,
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=scope,
        )

    class WithoutWords(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return exporter.export([bare(span) for span in spans])

        def shutdown(self) -> None:
            exporter.shutdown()

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return exporter.force_flush(timeout_millis)

    return WithoutWords()


async def _ended(provider: TracerProvider) -> None:
    """Have the last spans sent, by a thread that is left behind if the collector does not answer."""
    loop, sent = asyncio.get_running_loop(), asyncio.Event()

    def end() -> None:
        provider.shutdown()
        if not loop.is_closed():
            loop.call_soon_threadsafe(sent.set)

    threading.Thread(target=end, name="spans-flush", daemon=True).start()
    try:
        async with asyncio.timeout(FLUSH_S):
            await sent.wait()
    except TimeoutError:
        log.warning("traces.not_sent", within_s=FLUSH_S)
