"""Backends that break the rules: the others go on, and the client is told who and why."""

from __future__ import annotations

import asyncio
import json
import resource
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from switchboard.backends import Bounds, Patience
from switchboard.backends.connections.notification_order import NOTIFICATIONS_WAITING, NotificationOrder
from tools.messages import text


@pytest.mark.parametrize("mode", ["garbage", "flood", "wrong-id", "twice"])
async def test_noise_on_a_line_does_not_disturb_its_calls(mode: str, raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("noisy", mode)) as opened, Client(opened.server) as client:
        await opened.discovered()
        await client.call_tool("noisy__misbehave")
        after = await client.call_tool("noisy__echo", {"text": "still here"})
        assert text(after).endswith(":2:still here")


async def test_a_flood_on_standard_error_keeps_only_its_end(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("noisy", "flood")) as opened, Client(opened.server) as client:
        await opened.discovered()
        await client.call_tool("noisy__misbehave")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(3):
            await client.call_tool("noisy__misbehave")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KB, for 30 MB of stderr


async def test_a_message_of_100_mb_is_refused_without_filling_memory_and_without_ending_the_child(
    raw: Any, open_gateway: Any
) -> None:
    async with open_gateway(raw("vast", "huge"), raw("calm")) as opened, Client(opened.server) as client:
        await opened.discovered()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(MCPError, match=r"Backend 'vast': it sent a message of more than 8388608 bytes"):
            await client.call_tool("vast__misbehave")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
        assert text(await client.call_tool("calm__echo")).endswith(":1:")
        assert text(await client.call_tool("vast__echo")).endswith(":2:")


async def test_a_call_that_is_never_answered_ends_in_time_and_leaves_the_line_usable(
    raw: Any, open_gateway: Any
) -> None:
    backend = raw("deaf", patience=Patience(call=0.3, stop=0.5))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match=r"Backend 'deaf': no answer to tools/call within 0.3 s"):
            await client.call_tool("deaf__silent")
        assert text(await client.call_tool("deaf__echo")).endswith(":2:")


async def test_a_backend_that_stops_reading_is_given_up_in_time_and_the_others_go_on(
    raw: Any, open_gateway: Any
) -> None:
    stuck = raw("stuck", "unreading", patience=Patience(call=0.5, stop=0.2))
    async with open_gateway(stuck, raw("calm")) as opened, Client(opened.server) as client:
        await opened.discovered()
        for _ in range(3):
            async with asyncio.timeout(60):
                with pytest.raises(MCPError, match=r"Backend 'stuck': no answer to tools/call within 0.5 s"):
                    await client.call_tool("stuck__silent", {"text": "x" * 500_000})  # more than a pipe holds
        assert text(await client.call_tool("calm__echo")).endswith(":1:")


class Slow:
    """A client that does not take what it is told. Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "handshake"
    capabilities: Mapping[str, Any] = {}
    wants_progress = True

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        raise AssertionError(method)

    async def notify(self, method: str, params: Any) -> None:
        await asyncio.Event().wait()

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        await asyncio.Event().wait()


async def test_a_flood_of_messages_to_a_slow_client_is_cut_and_the_call_answered(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("loud", "chatter", patience=Patience(call=60, stop=0.5))) as opened:
        await opened.discovered()
        calling = opened.providers["loud"]._forwarding
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer = await calling.call("tools/call", {"name": "misbehave"}, Slow())
        assert text(answer).endswith(":1:")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 25_000  # KB, for 20 MB in 10,000 messages


async def test_what_nobody_can_hear_in_time_is_dropped_and_there_is_room_again_afterwards() -> None:
    order = NotificationOrder()
    assert [order.received() for _ in range(NOTIFICATIONS_WAITING + 2)] == [True] * NOTIFICATIONS_WAITING + [False] * 2
    for _ in range(NOTIFICATIONS_WAITING):
        async with order.handling():
            pass
    assert order.received()
    assert order.dropped == 2


async def test_an_answer_of_the_wrong_shape_is_refused_by_name(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("odd", "shapeless")) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match=r"Backend 'odd': its answer to tools/call is not valid: .*content"):
            await client.call_tool("odd__misbehave")


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("exit", "exited with 7: no such database"),
        ("mute", "no answer within 0.5 s"),
        ("old", "no protocol version in common"),
        ("new", "no protocol version in common"),
        ("nonsense", "its answer to tools/list has no tools"),
    ],
)
async def test_a_backend_that_cannot_be_used_says_why_and_delays_nobody(
    mode: str, reason: str, raw: Any, open_gateway: Any
) -> None:
    broken = raw("broken", mode, patience=Patience(start=0.5, stop=0.2))
    async with open_gateway(broken, raw("fine")) as opened, Client(opened.server) as client:
        await opened.discovered("fine")
        assert text(await client.call_tool("fine__echo")).endswith(":1:")
        health = opened.providers["broken"]
        await opened.until(lambda: health.health.condition == "failing")
        assert reason in health.health.reason
        assert [tool.name for tool in (await client.list_tools()).tools if tool.name.startswith("broken")] == []


async def test_a_command_that_does_not_exist_is_named(raw: Any, open_gateway: Any) -> None:
    backend = raw("absent")
    backend = replace(backend, transport=replace(backend.transport, command="no-such-command"))
    async with open_gateway(backend) as opened:
        provider = opened.providers["absent"]
        await opened.until(lambda: provider.health.condition == "failing")
        assert "'no-such-command' cannot be started" in provider.health.reason


async def test_five_thousand_tools_are_listed_up_to_the_bound(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("big", "many", bounds=Bounds(items=3000)), raw("small")) as opened:
        await opened.discovered("small")
        await opened.discovered("big")
        offer = opened.providers["big"].last_offer()
        assert len(offer.tools) == 3000
        assert {one.reason for one in offer.unoffered} == {"there are more than 3000"}


@pytest.mark.parametrize(("mode", "count"), [("endless", 10), ("circle", 6)])
async def test_pages_without_end_are_left_at_some_point(mode: str, count: int, raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("loop", mode, bounds=Bounds(pages=10))) as opened:
        await opened.discovered()
        assert len(opened.providers["loop"].last_offer().tools) == count


async def test_of_two_tools_with_one_name_the_first_counts(raw: Any, open_gateway: Any) -> None:
    async with open_gateway(raw("twins", "duplicate")) as opened:
        await opened.discovered()
        offer = opened.providers["twins"].last_offer()
        assert [tool.description for tool in offer.tools] == ["first"]
        assert offer.unoffered[0].reason == "it is listed twice; the first one counts"


async def test_definitions_lose_what_is_hidden_and_invalid_ones_are_left_out(
    raw: Any, open_gateway: Any, tmp_path: Path
) -> None:
    schema = {"type": "object"}
    definitions = [
        {"name": "fine", "description": "Red \x1b[31mtext\u202e \U000e0041", "inputSchema": schema},
        {"name": "bad", "inputSchema": {"type": "object", "properties": {"a": {"type": "nothing"}}}},
        {"name": "outside", "inputSchema": {"type": "object", "$ref": "http://example.org/x"}},
        {"name": "hid\u200bden", "inputSchema": schema},
        {"name": "schemaless"},
        {"name": "large", "description": "x" * 200_000, "inputSchema": schema},
        "not an object",
    ]
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(definitions))
    async with open_gateway(raw("mixed", "definitions", str(file))) as opened:
        await opened.discovered()
        offer = opened.providers["mixed"].last_offer()
        assert [(tool.name, tool.description) for tool in offer.tools] == [("fine", "Red text ")]
        reasons = {one.name: one.reason for one in offer.unoffered}
        assert "is not a JSON Schema" in reasons["bad"]
        assert "outside of itself" in reasons["outside"]
        assert "hidden characters" in reasons["hidden"]
        assert "inputSchema" in reasons["schemaless"]
        assert "larger than" in reasons["large"]


async def test_a_backend_that_dies_in_a_call_is_named_with_its_last_words_and_serves_again(
    raw: Any, open_gateway: Any
) -> None:
    async with open_gateway(raw("mortal")) as opened, Client(opened.server) as client:
        await opened.discovered()
        with pytest.raises(MCPError, match=r"Backend 'mortal': it exited with 3: I am leaving") as caught:
            await client.call_tool("mortal__die")
        assert caught.value.error.data == {"backend": "mortal", "maybeDone": True}
        async with asyncio.timeout(60):
            assert text(await client.call_tool("mortal__echo")).endswith(":1:")


async def test_only_a_call_that_may_be_repeated_is_repeated(raw: Any, open_gateway: Any, tmp_path: Path) -> None:
    marker = tmp_path / "died"
    async with open_gateway(raw("mortal", "plain", str(marker))) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert text(await client.call_tool("mortal__die-once")).endswith(":1:")
        assert marker.exists()


async def test_a_call_that_may_have_been_served_is_not_sent_again(raw: Any, open_gateway: Any, tmp_path: Path) -> None:
    tally = tmp_path / "started"
    async with open_gateway(raw("mortal", "tally", str(tally), scope="session")) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            with pytest.raises(MCPError, match="Backend 'mortal': it exited with 3"):
                await client.call_tool("mortal__die")

    assert tally.read_text().count("died") == 1
