"""The lists of a backend: each is asked for by itself, and one that cannot be had hides nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mcp import Client

from switchboard.backends import Bounds
from switchboard.backends.offer import listing
from switchboard.backends.offer.refresh_schedule import LONGEST_PAUSE_S, RefreshSchedule
from tests.backends.conftest import Open, Raw

ALL_CAPABILITIES: dict[str, Any] = {"tools": {}, "resources": {}, "prompts": {}}


def script(**lists: Any) -> dict[str, Any]:
    """What a server with every list says; `None` is silence, a text is an error, anything else a result."""
    info = {"name": "odd", "version": "1"}
    said: dict[str, Any] = {
        "initialize": {"protocolVersion": "2025-06-18", "capabilities": ALL_CAPABILITIES, "serverInfo": info},
        "resources/list": {"resources": [{"uri": "odd://r", "name": "r"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "odd://{x}", "name": "x"}]},
        "prompts/list": {"prompts": [{"name": "p"}]},
    } | lists
    return {"say": {method: None if given is None else [line(given)] for method, given in said.items()}}


def line(given: Any) -> str:
    answer = {"error": {"code": -32603, "message": given}} if isinstance(given, str) else {"result": given}
    return json.dumps({"jsonrpc": "2.0", "id": 0, **answer}).replace('"id": 0', '"id": $ID')


KINDS = {
    "tools/list": "tools",
    "resources/list": "resources",
    "resources/templates/list": "templates",
    "prompts/list": "prompts",
}


@pytest.mark.parametrize("method", list(KINDS))
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("not implemented", "not implemented"),
        ({"other": []}, "has no"),
        ({"tools": "?", "resources": 1, "resourceTemplates": True, "prompts": {"a": {}}}, "has no"),
        (None, "no answer to"),
    ],
    ids=["failing", "without its member", "of another shape", "silent"],
)
async def test_a_list_that_cannot_be_had_hides_only_itself_and_is_told_of(
    method: str, given: Any, why: str, scripted: Raw, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LIST_S", 2.0)
    monkeypatch.setattr(listing, "NEXT_LIST_S", 0.2)
    async with open_gateway(scripted(script(**{method: given}))) as opened:
        await opened.discovered()
        provider = opened.providers["odd"]
        await opened.until(lambda: bool(provider.last_offer().unoffered))
        offer = provider.last_offer()
    assert {kind for kind in KINDS.values() if getattr(offer, kind)} == set(KINDS.values()) - {KINDS[method]}
    (note,) = offer.unoffered
    assert (note.kind, note.name) == (KINDS[method], method)
    assert why in note.reason


async def test_tools_can_be_called_while_another_list_keeps_silent(scripted: Raw, open_gateway: Open) -> None:
    silent = scripted(script(**{"resources/list": None}))
    async with open_gateway(silent) as opened, Client(opened.server) as client:
        await opened.discovered()  # long before the silent list is given up
        assert not opened.providers["odd"].last_offer().unoffered
        assert [tool.name for tool in (await client.list_tools()).tools] == ["odd__t"]
        assert not (await client.call_tool("odd__t")).is_error


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"tools": None}, []),
        ({"tools": {}}, []),
        ({"tools": {"0": {"name": "a", "inputSchema": {}}, "2": {"name": "b", "inputSchema": {}}}}, ["a", "b"]),
    ],
    ids=["null", "an empty object", "an object of numbers"],
)
async def test_a_list_is_read_as_go_and_php_write_it(
    given: Any, names: list[str], scripted: Raw, open_gateway: Open
) -> None:
    given = json.loads(json.dumps(given).replace('"inputSchema": {}', '"inputSchema": {"type": "object"}'))
    async with open_gateway(scripted(script(**{"tools/list": given}))) as opened:
        await opened.discovered()
        offer = opened.providers["odd"].last_offer()
    assert [tool.name for tool in offer.tools] == names
    assert offer.unoffered == ()


async def test_an_empty_cursor_is_the_end_of_a_list(scripted: Raw, open_gateway: Open) -> None:
    page = {"tools": [{"name": "t", "inputSchema": {"type": "object"}}], "nextCursor": ""}
    async with open_gateway(scripted(script(**{"tools/list": page}))) as opened:
        await opened.discovered()
        offer = opened.providers["odd"].last_offer()
    assert ([tool.name for tool in offer.tools], offer.unoffered) == (["t"], ())


@pytest.mark.parametrize(("mode", "why"), [("endless", "it has more than 10 pages"), ("circle", "round in a circle")])
async def test_a_list_without_end_is_told_of(mode: str, why: str, raw: Raw, open_gateway: Open) -> None:
    async with open_gateway(raw("loop", mode, bounds=Bounds(pages=10))) as opened:
        await opened.discovered()
        assert why in opened.providers["loop"].last_offer().unoffered[-1].reason


async def test_what_a_list_said_before_is_offered_while_it_fails_and_it_is_asked_again(
    scripted: Raw, open_gateway: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.backends.offer.discovery.INCOMPLETE_S", 0.1)
    async with open_gateway(scripted(script(**{"prompts/list": "broken"}))) as opened:
        provider = opened.providers["odd"]
        await opened.discovered()
        await opened.until(lambda: provider._discovery._incomplete >= 3)
        assert provider.health.condition == "ready"


async def test_a_backend_that_says_that_its_lists_changed_whenever_it_is_asked_is_asked_seldom(
    scripted: Raw, open_gateway: Open, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    heard = tmp_path / "heard"
    changed = '{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'
    told = {"heard": str(heard), "also": {"tools/list": [changed]}}
    async with open_gateway(scripted(told)) as opened:
        await opened.discovered()
        schedule = opened.providers["odd"]._discovery._schedule
        await opened.until(lambda: schedule.in_a_row >= 5, 30)
        assert schedule.pause >= 4
        assert heard.read_text().count('"tools/list"') <= 7
    assert capsys.readouterr().out.count("backend.refresh_delayed") == 1


def test_looks_that_find_nothing_new_are_spaced_out_until_there_was_quiet() -> None:
    schedule, now, pauses = RefreshSchedule(), 100.0, list[float]()
    schedule.started(now)
    for _ in range(12):
        schedule.requested(now)
        pauses.append(schedule.pause)
        now += schedule.pause
        schedule.started(now)
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 60.0]
    now += 2 * LONGEST_PAUSE_S + 1
    schedule.requested(now)
    assert schedule.pause < 0.1


def test_looks_that_find_something_new_each_time_are_spaced_out_less() -> None:
    schedule, now = RefreshSchedule(), 100.0
    for _ in range(12):
        schedule.requested(now)
        now += schedule.pause
        schedule.started(now)
        schedule.changed()
    assert schedule.pause == 4.0


def test_a_change_now_and_then_is_looked_at_at_once() -> None:
    schedule, now = RefreshSchedule(), 100.0
    for _ in range(5):
        schedule.started(now)
        now += 5
        schedule.requested(now)
        assert schedule.pause < 0.1
