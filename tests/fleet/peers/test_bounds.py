"""How much a call may carry and how many there may be; what is no frame begins nothing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.fleet.peers import PeerLost, frames, server
from switchboard.fleet.peers.frames import PROTOCOL, Frame
from tests.fleet.peers.conftest import IMPATIENT

# -- what is bounded, and what is not understood ----------------------------------------------------------------------


async def test_what_is_too_long_for_redis_is_refused_at_either_end_and_the_call_ends(
    fleet: Any, person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "FRAME_BYTES", 2_000)
    long = "x" * 3_000
    errors: list[MCPError] = []

    async def wordy(params: Any, channel: Any) -> Any:
        await channel.notify("notifications/message", {"data": long})
        await channel.notify("notifications/message", {"data": "short"})
        for asked in (long, "n"):
            try:
                await channel.ask("who", {"x": asked})
            except MCPError as error:
                errors.append(error)
        return {"x": long}

    class Wordy(type(person)):  # type: ignore[misc]
        async def ask(self, method: str, params: Any) -> dict[str, Any]:
            return {"x": long}

    client = Wordy()
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("wordy", wordy), asyncio.timeout(60):
        with pytest.raises(MCPError, match=r"request cannot be handed .* 2000 can be sent"):
            await one.peers.call("w2", "wordy", {"x": long}, client)
        with pytest.raises(MCPError, match=r"answer cannot be handed .* 2000 can be sent"):
            await one.peers.call("w2", "wordy", {}, client)
    assert client.told == ["short"]
    assert ["client cannot be asked" in errors[0].message, "answer cannot be handed" in errors[1].message] == [True] * 2


@pytest.mark.parametrize("result", ["\ud800", {1, 2}], ids=["half a surrogate", "no JSON"])
async def test_what_cannot_be_sent_ends_the_call_with_an_error(fleet: Any, result: Any) -> None:
    async def odd(params: Any, channel: Any) -> Any:
        return result

    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("odd", odd), asyncio.timeout(60):
        with pytest.raises(MCPError, match="answer cannot be handed to another worker: it cannot be sent"):
            await one.peers.call("w2", "odd", {})


async def test_a_worker_serves_and_makes_only_so_many_calls_at_once(
    fleet: Any, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CALLS", 2)
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("work", work), asyncio.TaskGroup() as tasks:
        for n in range(2):
            tasks.create_task(one.peers.call("w2", "work", {"n": n}))
        while work.calls < 2:
            await asyncio.sleep(0)
        with pytest.raises(PeerLost, match="serves too many calls; it did not begin"):
            await one.peers.call("w2", "work", {})
        work.release.set()
    async with two.peers.serving("work", work):
        assert await one.peers.call("w2", "work", {}) == {"did": {}}


async def test_outcomes_are_kept_for_a_while_and_only_so_many(fleet: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(params: Any, channel: Any) -> Any:
        return dict(params)

    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("echo", echo):
        for n in range(10):
            await one.peers.call("w2", "echo", {"n": n})
        kept = two.peers._server._served
        assert len(kept) == 10
        monkeypatch.setattr(server, "KEPT_BYTES", 3 * next(iter(kept.values())).kept)
        await one.peers.call("w2", "echo", {"n": 10})
        async with asyncio.timeout(60):
            while len(kept) > 3:
                await asyncio.sleep(0.01)
        monkeypatch.setattr(server, "KEPT_BYTES", 1_000_000)
        monkeypatch.setattr(server, "KEPT_CALLS", 2)
        with pytest.raises(PeerLost, match="does not serve it"):
            await one.peers.call("w2", "unknown", {})
        assert len(kept) == 2
    three = await fleet.start("w3", timing=replace(IMPATIENT, kept=0.1))
    async with three.peers.serving("echo", echo), asyncio.timeout(60):
        await one.peers.call("w3", "echo", {})
        while three.peers._server._served:
            await asyncio.sleep(0.01)


def forged(**changes: Any) -> str:
    frame = {"call": "c", "from": "w9", "kind": "call", "n": 1, "seen": 0, "again": False}
    return json.dumps({**frame, "body": {"method": "work", "params": {}, "once": True}, **changes})


GARBAGE = [
    "", "null", "[]", "{}", "[" * 100_000, forged(call=5), forged(call="a b"), forged(**{"from": "\ud800"}),
    forged(**{"from": "x" * 65}), forged(kind=["call"]), forged(kind="nonsense"), forged(n=-1), forged(n=True),
    forged(n="1"), forged(seen=None), forged(body=None), forged(body={"method": "work", "params": [], "once": True}),
    forged(body={"method": "work", "params": {}}), forged(body={"method": ["work"], "params": {}, "once": True}),
]  # fmt: skip


async def test_what_is_no_frame_of_this_version_begins_nothing_and_ends_nothing(fleet: Any, work: Any) -> None:
    one, two = await fleet.start("w1"), await fleet.start("w2")
    async with two.peers.serving("work", work):
        call = asyncio.create_task(one.peers.call("w2", "work", {"x": 1}))
        await work.began.wait()
        [mine] = one.peers._calls
        foreign = [forged(call=mine, kind=kind, n=2, body={}) for kind in ("result", "cancel", "answer", "error")]
        foreign += [forged(call=mine, kind="result", n=1, body={"result": "not mine"})]  # of another worker
        assert [payload for payload in GARBAGE if Frame.read(payload) is not None] == []
        for worker in ("w1", "w2"):
            for payload in (*GARBAGE, *foreign):
                await two.pubsub.pubsub.publish(f"mcp:peer:{PROTOCOL}:{worker}", payload)
        work.release.set()
        assert await asyncio.wait_for(call, 60) == {"did": {"x": 1}}
    assert work.calls == 1
