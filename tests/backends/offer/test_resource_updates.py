"""Storms of notices that resources changed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from mcp import Client
from mcp.shared.subscriptions import ResourceUpdated

from switchboard.backends.offer import resource_updates
from switchboard.backends.offer.resource_updates import UPDATES_WAITING, ResourceUpdates


async def test_a_storm_of_updates_of_one_resource_is_told_of_at_once_and_once_more_at_its_end(
    scripted: Any, open_gateway: Any
) -> None:
    update = '{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"odd://r"}}'
    answer = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[]}}'
    async with open_gateway(scripted({"say": {"tools/call": [*[update] * 900, answer]}})) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            await client.call_tool("odd__t")
        told = opened.host.events
        await opened.until(lambda: len([one for one in told if isinstance(one, ResourceUpdated)]) >= 2)
    assert 2 <= len([one for one in told if isinstance(one, ResourceUpdated)]) <= 50


async def test_updates_of_more_resources_than_can_be_told_of_are_dropped_and_the_rest_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource_updates, "UPDATE_SPACING_S", 0.05)
    told: list[str] = []

    async def publish(uri: str) -> None:
        told.append(uri)

    one = ResourceUpdates("odd", publish)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 100.0)
    for number in range(3 * UPDATES_WAITING):
        await one.report(f"odd://{number}")
        await one.report(f"odd://{number}")
    monkeypatch.undo()
    assert len(told) == UPDATES_WAITING
    telling = asyncio.create_task(one.keep_publishing())
    async with asyncio.timeout(60):
        while len(told) < 2 * UPDATES_WAITING:
            await asyncio.sleep(0.01)
    telling.cancel()
    assert len(set(told)) <= 2 * UPDATES_WAITING


async def test_one_resource_is_told_of_once_in_the_time_between_however_long_it_was_quiet_before(
    monkeypatch: pytest.MonkeyPatch, pass_time: Callable[[float], Awaitable[None]]
) -> None:
    monkeypatch.setattr(resource_updates, "UPDATE_SPACING_S", 100)
    told: list[str] = []

    async def publish(uri: str) -> None:
        told.append(uri)

    one = ResourceUpdates("odd", publish)
    telling = asyncio.create_task(one.keep_publishing())
    await pass_time(0)
    await pass_time(90)
    await one.report("odd://a")
    assert told == ["odd://a"]
    await pass_time(20)
    await one.report("odd://a")
    await one.report("odd://b")
    assert told == ["odd://a", "odd://b"]
    await pass_time(0)
    await pass_time(120)
    assert told == ["odd://a", "odd://b", "odd://a"]
    telling.cancel()
