"""One trace of a call that crosses two real workers and a backend; what is sampled out, and what is no context."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision

from switchboard.telemetry import exporting
from tools.messages import call, modern, request
from tools.tracing.collector import Collected
from tools.tracing.fleet import COLLECTORS_TOKEN, TracedFleet, context, running

SECRET = "hunter2-of-the-arguments"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, start_private_redis: Any) -> Iterator[TracedFleet]:
    with running(tmp_path_factory.mktemp("traces"), start_private_redis().url) as made:
        yield made


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


def echo(
    fleet: TracedFleet, worker: int, message: dict[str, Any], trace: str, root: str, **headers: str
) -> list[Collected]:
    """The way of one call of the backend's tool."""
    answer = fleet.post(worker, message, **headers)
    assert SECRET in answer.raise_for_status().text
    return way(fleet.collector.whole(trace, "POST /mcp", "tools/call echo", "tools/call echo", root=root), root)


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
def test_a_call_that_crosses_two_workers_and_a_backend_is_one_trace(fleet: TracedFleet, era: str, brought: str) -> None:
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


def test_spans_tell_what_the_conventions_name_and_neither_arguments_nor_answers(fleet: TracedFleet) -> None:
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


def test_of_an_error_spans_tell_the_code_and_not_the_words(fleet: TracedFleet) -> None:
    trace, root, parent = context()
    answer = fleet.post(0, modern(call("far__refuse", {"text": SECRET})), traceparent=parent)
    assert SECRET in answer.text
    spans = way(fleet.collector.whole(trace, "POST /mcp", "tools/call refuse", "tools/call refuse", root=root), root)
    http, *others, _backend = spans
    assert not http.failed
    assert [each.attributes["error.type"] for each in others] == ["-32050"] * len(others)
    assert all(each.failed and not each.description and not each.events for each in others)


def test_where_the_header_brings_one_context_and_meta_another_the_request_is_linked(fleet: TracedFleet) -> None:
    trace, root, parent = context()
    other, above, header = context()
    named = call("far__echo", {"text": SECRET}, traceparent=parent)
    fleet.post(0, modern(named), traceparent=header).raise_for_status()
    (http,) = fleet.collector.whole(other, "POST /mcp", root=above)
    served, *_ = way(
        fleet.collector.whole(trace, "tools/call far__echo", "tools/call echo", "tools/call echo", root=root), root
    )
    assert served.links == (http.id,)


def test_a_trace_that_its_client_does_not_sample_makes_no_span_anywhere(fleet: TracedFleet) -> None:
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
def test_a_malformed_context_is_ignored(fleet: TracedFleet, parent: str, brought: str) -> None:
    before = {each.trace for each in fleet.collector.spans}
    number = secrets.token_hex(8)
    named = call("far__echo", {"text": SECRET}, number, **({"traceparent": parent} if brought == "_meta" else {}))
    headers = {"traceparent": parent} if brought == "header" else {}
    assert SECRET in fleet.post(0, modern(named), **headers).raise_for_status().text

    def served(spans: list[Collected]) -> list[Collected]:
        return [each for each in spans if each.attributes.get("jsonrpc.request.id") == number]

    (one,) = served(fleet.collector.until(lambda spans: bool(served(spans))))
    spans = way(fleet.collector.whole(one.trace, "POST /mcp", "tools/call echo", "tools/call echo"), "")
    assert one.trace not in before
    assert told(spans) in (NEAR, CROSSING)


def test_requests_that_are_refused_and_lists_have_spans_and_probes_have_none(fleet: TracedFleet) -> None:
    trace, root, parent = context()
    httpx2.get(fleet.url(0, "/readyz"), headers={"traceparent": parent}, trust_env=False)
    httpx2.get(fleet.url(0, f"/nowhere/{SECRET}"), headers={"traceparent": parent}, trust_env=False)
    for _ in range(2):
        fleet.post(0, modern(request("tools/list")), traceparent=parent).raise_for_status()
    spans = fleet.collector.whole(trace, "GET", "POST /mcp", "tools/list", root=root)
    spans = fleet.collector.until(lambda spans: sum(each.trace == trace for each in spans) >= 5)
    spans = [each for each in spans if each.trace == trace]
    assert sorted(each.name for each in spans) == ["GET", "POST /mcp", "POST /mcp", "tools/list", "tools/list"]
    assert SECRET not in repr(spans)


def test_spans_are_sent_with_the_headers_that_are_configured(fleet: TracedFleet) -> None:
    fleet.post(0, modern(request("tools/list"))).raise_for_status()
    fleet.collector.until(lambda spans: any(each.service == "switchboard" for each in spans))
    assert any(sent.get("authorization") == COLLECTORS_TOKEN for sent in fleet.collector.headers)


def test_a_worker_that_ends_sends_what_is_left(fleet: TracedFleet) -> None:
    trace, _root, parent = context()
    fleet.post(1, modern(request("tools/list")), traceparent=parent).raise_for_status()
    fleet.children[1].stop()
    spans = [each.name for each in fleet.collector.spans if each.trace == trace]
    assert sorted(spans) == ["POST /mcp", "tools/list"]


@pytest.mark.parametrize("name", exporting.SAMPLERS)
@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_what_is_left_out_before_its_trace_begins_is_what_the_sampler_leaves_out(name: str, ratio: float) -> None:
    sampler = exporting.sampler_of(name, ratio)
    ids, roots = exporting.ids_for(exporting.ratio_of(name, ratio))
    tracer = TracerProvider(sampler=sampler, id_generator=ids).get_tracer("test")
    kept = 0
    for _ in range(500):
        left = roots.left_out()
        if left is None:
            kept += 1
            assert tracer.start_span("root").get_span_context().trace_flags.sampled
        else:
            context = left.get_span_context()
            assert context.is_valid
            assert not context.trace_flags.sampled
            assert sampler.should_sample(None, context.trace_id, "root").decision is Decision.DROP
    by_ratio = {0.0: kept == 0, 0.3: 0 < kept < 500, 1.0: kept == 500}
    expected = by_ratio[ratio] if "ratio" in name else kept == (500 if "always_on" in name else 0)
    assert expected, kept
