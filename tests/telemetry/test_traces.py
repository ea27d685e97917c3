"""One trace of a call that crosses two real workers and a backend; what is sampled out, and what is no context."""

from __future__ import annotations

import itertools
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tools.collector import Collected, Collector, collecting
from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.fleet.redis_server import RedisServer
from tools.fleet.workers import START_TIMEOUT, launch_worker
from tools.messages import HANDSHAKE, call, initialize, modern, modern_headers, notification, request

BACKEND = Path(__file__).parent / "servers" / "traced.py"
SECRET = "hunter2-of-the-arguments"
HEADER = {"authorization": "Bearer collector-token"}


@dataclass
class Fleet:
    """Two workers, and who collects their spans and those of their backend."""

    ports: tuple[int, int]
    children: list[Child]
    collector: Collector

    def post(self, worker: int, message: dict[str, Any], **headers: str) -> httpx2.Response:
        url = f"http://{LOOPBACK}:{self.ports[worker]}/mcp"
        return httpx2.post(
            url, json=message, headers={**modern_headers(message), **headers}, trust_env=False, timeout=60
        )

    def asked(self, era: str, worker: int, message: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """A message as a client of that era sends it, and what headers it adds: in a session of its own."""
        if era == "modern":
            return modern(message), {}
        hello = self.post(worker, initialize(), **{"mcp-protocol-version": HANDSHAKE})
        headers = {"mcp-session-id": hello.headers["mcp-session-id"], "mcp-protocol-version": HANDSHAKE}
        self.post(worker, notification("notifications/initialized"), **headers)
        return message, headers


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, start_private_redis: Any) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("traces")
    redis: RedisServer = start_private_redis()
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        backend = {"command": sys.executable, "args": [str(BACKEND)], "env": {"TRACES": f"{collector.url}/v1/traces"}}
        config = folder / "config.json"
        config.write_text(json.dumps({"mcpServers": {"far": {**backend, "scope": "shared"}}}))
        env = {"REDIS_URL": redis.url, "SECRET_KEY": "k" * 48, "AUTH_MODE": "none", "CONFIG_FILE": str(config)}
        env |= {"DRAIN_GRACE": "0", "RATE_LIMIT": "0", "LOG_LEVEL": "warning"}
        env |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        env |= {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20collector-token", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        ports = free_port(), free_port()
        children = [launch_worker(folder, port, env) for port in ports]
        stack.callback(lambda: [child.stop() for child in children])
        for port, child in zip(ports, children, strict=True):
            child.wait_until(partial(answers, port, "/readyz"), START_TIMEOUT)
        made = Fleet(ports, children, collector)
        for child, worker in zip(children, (0, 1), strict=True):
            child.wait_until(partial(_offers, made, worker), START_TIMEOUT)
        yield made


def _offers(fleet: Fleet, worker: int) -> bool:
    return "far__echo" in fleet.post(worker, modern(request("tools/list"))).text


def context(flags: str = "01") -> tuple[str, str, str]:
    """Ids of a trace and of a span in it, and what brings them."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    return trace, span, f"00-{trace}-{span}-{flags}"


def way(spans: list[Collected], root: str) -> list[Collected]:
    """The spans from the one below `root` on, each below the one before it."""
    found: list[Collected] = []
    while below := [each for each in spans if each.parent == root]:
        (only,) = below
        found.append(only)
        root = only.id
    assert len(found) == len(spans)
    return found


def told(spans: list[Collected]) -> list[tuple[str, str, str]]:
    return [(each.name, each.kind, each.service) for each in spans]


def echo(fleet: Fleet, worker: int, message: dict[str, Any], trace: str, root: str, **headers: str) -> list[Collected]:
    """The way of one call of the backend's tool."""
    answer = fleet.post(worker, message, **headers)
    assert SECRET in answer.raise_for_status().text
    return way(fleet.collector.whole(trace, "POST /mcp", "tools/call echo", root=root), root)


NEAR = [
    ("POST /mcp", "server", "switchboard"),
    ("tools/call far__echo", "server", "switchboard"),
    ("tools/call echo", "client", "switchboard"),
    ("tools/call echo", "server", "backend"),
]
"""Where the worker has the child."""
PEERS = [("peer backend", "client", "switchboard"), ("peer backend", "server", "switchboard")]
CROSSING = [*NEAR[:2], *PEERS, *NEAR[2:]]


@pytest.mark.parametrize("era", ["modern", "handshake"])
@pytest.mark.parametrize("brought", ["header", "_meta"])
def test_a_call_that_crosses_two_workers_and_a_backend_is_one_trace(fleet: Fleet, era: str, brought: str) -> None:
    ways = []
    for worker in (0, 1):
        trace, root, parent = context()
        named = call("far__echo", {"text": SECRET}, **({"traceparent": parent} if brought == "_meta" else {}))
        message, headers = fleet.asked(era, worker, named)
        headers |= {"traceparent": parent} if brought == "header" else {}
        ways.append(echo(fleet, worker, message, trace, root, **headers))
    near, crossing = sorted(ways, key=len)
    assert (told(near), told(crossing)) == (NEAR, CROSSING)
    one, *_, serving = [each.instance for each in crossing if each.service == "switchboard"]
    assert [each.instance for each in crossing] == [one] * 3 + [serving] * 2 + ["backend"]
    assert one != serving == near[0].instance
    assert all(a.begin <= b.begin and b.end <= a.end for a, b in itertools.pairwise(crossing))


def test_spans_tell_what_the_conventions_name_and_neither_arguments_nor_answers(fleet: Fleet) -> None:
    trace, root, parent = context()
    http, served, *_, sent, _backend = echo(
        fleet, 0, modern(call("far__echo", {"text": SECRET}, id=77)), trace, root, traceparent=parent
    )
    assert http.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": "/mcp",
        "http.response.status_code": 200,
        "switchboard.provider": "far",
    }
    assert served.attributes == {
        "mcp.method.name": "tools/call",
        "mcp.protocol.version": "2026-07-28",
        "gen_ai.tool.name": "far__echo",
        "gen_ai.operation.name": "execute_tool",
        "jsonrpc.request.id": "77",
    }
    assert sent.attributes["gen_ai.tool.name"] == "echo"
    assert SECRET not in repr([each for each in fleet.collector.spans if each.service == "switchboard"])


def test_of_an_error_spans_tell_the_code_and_not_the_words(fleet: Fleet) -> None:
    trace, root, parent = context()
    answer = fleet.post(0, modern(call("far__refuse", {"text": SECRET})), traceparent=parent)
    assert SECRET in answer.text
    spans = way(fleet.collector.whole(trace, "POST /mcp", "tools/call refuse", root=root), root)
    http, *others, _backend = spans
    assert not http.failed
    assert [each.attributes["error.type"] for each in others] == ["-32050"] * len(others)
    assert all(each.failed and not each.description and not each.events for each in others)


def test_where_the_header_brings_one_context_and_meta_another_the_request_is_linked(fleet: Fleet) -> None:
    trace, root, parent = context()
    other, above, header = context()
    named = call("far__echo", {"text": SECRET}, traceparent=parent)
    fleet.post(0, modern(named), traceparent=header).raise_for_status()
    (http,) = fleet.collector.whole(other, "POST /mcp", root=above)
    served, *_ = way(fleet.collector.whole(trace, "tools/call far__echo", "tools/call echo", root=root), root)
    assert served.links == (http.id,)


def test_a_trace_that_its_client_does_not_sample_makes_no_span_anywhere(fleet: Fleet) -> None:
    left_out, _, parent = context(flags="00")
    for worker in (0, 1):
        for brought in ("header", "_meta"):
            named = call("far__echo", {"text": SECRET}, **({"traceparent": parent} if brought == "_meta" else {}))
            headers = {"traceparent": parent} if brought == "header" else {}
            fleet.post(worker, modern(named), **headers).raise_for_status()
            trace, root, kept = context()
            echo(fleet, worker, modern(call("far__echo", {"text": SECRET})), trace, root, traceparent=kept)
    assert [each for each in fleet.collector.spans if each.trace == left_out] == []


BAD = ["00-1-2-01", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "ff-" + "1" * 32 + "-" + "1" * 16 + "-01", "x" * 600]


@pytest.mark.parametrize("brought", ["header", "_meta"])
@pytest.mark.parametrize("parent", BAD)
def test_a_malformed_context_is_ignored(fleet: Fleet, parent: str, brought: str) -> None:
    before = {each.trace for each in fleet.collector.spans}
    number = secrets.token_hex(8)
    named = call("far__echo", {"text": SECRET}, number, **({"traceparent": parent} if brought == "_meta" else {}))
    headers = {"traceparent": parent} if brought == "header" else {}
    assert SECRET in fleet.post(0, modern(named), **headers).raise_for_status().text

    def served(spans: list[Collected]) -> list[Collected]:
        return [each for each in spans if each.attributes.get("jsonrpc.request.id") == number]

    (one,) = served(fleet.collector.until(lambda spans: bool(served(spans))))
    spans = way(fleet.collector.whole(one.trace, "POST /mcp", "tools/call echo"), "")
    assert one.trace not in before
    assert told(spans) in (NEAR, CROSSING)


def test_requests_that_are_refused_and_lists_have_spans_and_probes_have_none(fleet: Fleet) -> None:
    trace, root, parent = context()
    url = f"http://{LOOPBACK}:{fleet.ports[0]}"
    httpx2.get(f"{url}/readyz", headers={"traceparent": parent}, trust_env=False)
    httpx2.get(f"{url}/nowhere/{SECRET}", headers={"traceparent": parent}, trust_env=False)
    for _ in range(2):
        fleet.post(0, modern(request("tools/list")), traceparent=parent).raise_for_status()
    spans = fleet.collector.whole(trace, "GET", "POST /mcp", "tools/list", root=root)
    spans = fleet.collector.until(lambda spans: sum(each.trace == trace for each in spans) >= 5)
    spans = [each for each in spans if each.trace == trace]
    assert sorted(each.name for each in spans) == ["GET", "POST /mcp", "POST /mcp", "tools/list", "tools/list"]
    assert SECRET not in repr(spans)


def test_spans_are_sent_with_the_headers_that_are_configured(fleet: Fleet) -> None:
    fleet.post(0, modern(request("tools/list"))).raise_for_status()
    fleet.collector.until(lambda spans: any(each.service == "switchboard" for each in spans))
    assert any(sent.get("authorization") == "Bearer collector-token" for sent in fleet.collector.headers)


def test_a_worker_that_ends_sends_what_is_left(fleet: Fleet) -> None:
    trace, _root, parent = context()
    fleet.post(1, modern(request("tools/list")), traceparent=parent).raise_for_status()
    fleet.children[1].stop()
    spans = [each.name for each in fleet.collector.spans if each.trace == trace]
    assert sorted(spans) == ["POST /mcp", "tools/list"]
