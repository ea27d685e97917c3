"""Two workers that share a backend with one child, and who collects the spans of all three."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2

from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.fleet.workers import START_TIMEOUT, launch_worker
from tools.messages import HANDSHAKE, Message, initialize, modern, modern_headers, notification, request
from tools.tracing.collector import Collector, collecting

BACKEND: Final = Path(__file__).parent / "backend.py"

COLLECTORS_TOKEN: Final = "Bearer collector-token"
"""What the workers send to the collector."""


@dataclass(frozen=True)
class TracedFleet:
    """The workers' ports and processes, and the collector."""

    ports: tuple[int, int]
    children: tuple[Child, Child]
    collector: Collector

    def url(self, worker: int, path: str = "/mcp") -> str:
        """Of one worker."""
        return f"http://{LOOPBACK}:{self.ports[worker]}{path}"

    def post(self, worker: int, message: Message, **headers: str) -> httpx2.Response:
        """Send a worker a message, with the headers of a modern one if no others are given."""
        sent = {**modern_headers(message), **headers}
        return httpx2.post(self.url(worker), json=message, headers=sent, trust_env=False, timeout=60)

    def asked(self, era: str, worker: int, message: Message) -> tuple[Message, dict[str, str]]:
        """A message as a client of that era sends it, and what headers it adds: in a session of its own."""
        if era == "modern":
            return modern(message), {}
        hello = self.post(worker, initialize(), **{"mcp-protocol-version": HANDSHAKE})
        headers = {"mcp-session-id": hello.headers["mcp-session-id"], "mcp-protocol-version": HANDSHAKE}
        self.post(worker, notification("notifications/initialized"), **headers)
        return message, headers

    def offers(self, worker: int) -> bool:
        """Whether a worker knows the tools of the backend."""
        return "far__echo" in self.post(worker, modern(request("tools/list"))).text


def context(flags: str = "01") -> tuple[str, str, str]:
    """Ids of a trace and of a span in it, and the `traceparent` that brings them."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


@contextmanager
def running(folder: Path, redis_url: str, **settings: str) -> Iterator[TracedFleet]:
    """Such workers, once both offer the backend's tools; everything is stopped at the end."""
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        backend: dict[str, Any] = {"command": sys.executable, "args": [str(BACKEND)], "scope": "shared"}
        backend["env"] = {"TRACES": f"{collector.url}/v1/traces"}
        config = folder / "config.json"
        config.write_text(json.dumps({"mcpServers": {"far": backend}}))
        env: dict[str, Any] = {"REDIS_URL": redis_url, "SECRET_KEY": "k" * 48, "CONFIG_FILE": str(config)}
        env |= {"AUTH_MODE": "none", "DRAIN_GRACE": "0", "RATE_LIMIT": "0", "LOG_LEVEL": "warning"}
        env |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        env |= {"OTEL_EXPORTER_OTLP_HEADERS": f"authorization={COLLECTORS_TOKEN.replace(' ', '%20')}"}
        env |= {"OTEL_BSP_SCHEDULE_DELAY": "50", **settings}
        ports = free_port(), free_port()
        children = launch_worker(folder, ports[0], env), launch_worker(folder, ports[1], env)
        stack.callback(lambda: [child.stop() for child in children])
        fleet = TracedFleet(ports, children, collector)
        for worker, child in enumerate(children):
            child.wait_until(partial(answers, ports[worker], "/readyz"), START_TIMEOUT)
            child.wait_until(partial(fleet.offers, worker), START_TIMEOUT)
        yield fleet
