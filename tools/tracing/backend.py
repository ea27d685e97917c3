"""A backend over stdio that sends its own spans, which the SDK makes, to the collector in TRACES."""

from __future__ import annotations

import os

from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

server = MCPServer("traced")


@server.tool()
def echo(text: str) -> str:
    """Give it back."""
    return text


@server.tool()
def refuse(text: str) -> str:
    """Quote it in an error."""
    raise MCPError(-32050, f"not {text}")


if __name__ == "__main__":
    provider = TracerProvider(resource=Resource.create({"service.name": "backend", "service.instance.id": "backend"}))
    provider.add_span_processor(
        BatchSpanProcessor(OTLPSpanExporter(endpoint=os.environ["TRACES"]), schedule_delay_millis=50)
    )
    trace.set_tracer_provider(provider)
    server.run("stdio")
