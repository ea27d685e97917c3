"""`roots/list` of children: answered at their start, between calls, and after the roots changed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError

from switchboard.backends.connections import roots, roots_changes
from switchboard.backends.connections.connection_key import ConnectionKey
from switchboard.backends.connections.inflight import Call, InFlight
from switchboard.backends.connections.roots import Roots
from switchboard.errors import StateUnavailable
from switchboard.state import open_state

ASKED = '{"jsonrpc":"2.0","id":%d,"method":"roots/list"}'
HOME = [{"uri": "file:///home"}]


def messages(heard: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in heard.read_text().splitlines()] if heard.exists() else []


async def until_heard(heard: Path, number: int) -> dict[str, Any]:
    """The child's answer of this id."""
    async with asyncio.timeout(60):
        while True:
            for message in messages(heard):
                if message.get("id") == number and "method" not in message:
                    return message
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_child_that_asks_as_soon_as_it_may_has_the_roots_before_its_first_call(
    era: str, scripted: Any, fleet: Any, connect: Any, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    script = {"heard": str(heard), "also": {"notifications/initialized": [ASKED % 0]}}
    (url,) = await fleet([scripted(script, scope="session")])
    async with connect(url, era) as client:
        await found(client)
        await client.call_tool("odd__t")
    told = messages(heard)
    answered = next(n for n, message in enumerate(told) if message.get("result", {}).get("roots"))
    called = next(n for n, message in enumerate(told) if message.get("method") == "tools/call")
    assert told[answered]["result"]["roots"] == HOME
    assert answered < called


async def found(client: Any) -> None:
    async with asyncio.timeout(60):
        while not any(tool.name == "odd__t" for tool in (await client.list_tools()).tools):
            await asyncio.sleep(0.02)


@pytest.mark.filterwarnings("ignore:The roots capability is deprecated")
@pytest.mark.parametrize("count", [1, 2])
async def test_a_change_of_the_roots_is_passed_on_and_they_are_had_without_a_call(
    count: int, scripted: Any, fleet: Any, connect: Any, tmp_path: Path, redis_url: str
) -> None:
    heard = tmp_path / "heard"
    script = {"heard": str(heard), "also": {"notifications/roots/list_changed": [ASKED % 9]}}
    urls = await fleet([scripted(script, scope="session")], count=count, redis_url=redis_url)
    async with connect(urls if count > 1 else urls[0], "handshake") as client:
        await found(client)
        await client.call_tool("odd__t")
        await client.send_roots_list_changed()
        assert (await until_heard(heard, 9))["result"]["roots"] == HOME
    promised = [
        message["params"]["capabilities"] for message in messages(heard) if message.get("method") == "initialize"
    ]
    assert {"listChanged": True} in [capabilities.get("roots") for capabilities in promised]


async def test_a_child_is_promised_no_change_of_the_roots_of_a_client_that_cannot_tell_of_one(
    scripted: Any, fleet: Any, connect: Any, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    (url,) = await fleet([scripted({"heard": str(heard)}, scope="session")])
    async with connect(url, "modern") as client:
        await found(client)
        await client.call_tool("odd__t")
    promised = [
        message["params"]["capabilities"] for message in messages(heard) if message.get("method") == "initialize"
    ]
    assert [capabilities["roots"] for capabilities in promised] == [{}] * len(promised)


class Client:
    """Satisfies `ClientChannel`."""

    era: Literal["handshake", "modern"] = "handshake"
    wants_progress = False

    def __init__(self, answer: dict[str, Any] | MCPError | None, *, able: bool = True) -> None:
        self.capabilities: Mapping[str, Any] = {"roots": {}} if able else {}
        self.asked = 0
        self._answer = answer

    async def ask(self, method: str, params: Any) -> dict[str, Any]:
        assert method == "roots/list"
        self.asked += 1
        if isinstance(self._answer, MCPError):
            raise self._answer
        if self._answer is None:
            await asyncio.Event().wait()
        assert isinstance(self._answer, dict)
        return self._answer

    async def notify(self, method: str, params: Any) -> None:
        raise AssertionError(method)

    async def progress(self, progress: float, total: float | None, message: str | None) -> None:
        raise AssertionError(progress)


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roots, "NEXT_CALL_S", 0.01)
    monkeypatch.setattr(roots, "CLIENT_ANSWER_S", 0.1)


async def waiting(asked: asyncio.Task[Any], owner: Roots) -> None:
    while not owner._waiting and not asked.done():
        await asyncio.sleep(0)


@pytest.mark.usefixtures("soon")
async def test_a_question_that_outlives_its_call_is_answered_with_the_next_one() -> None:
    calls = InFlight(owned=True)
    owner, answer = Roots(calls), {"roots": HOME}
    short, long = Client(None), Client(answer)
    call = Call(short, 60)
    with calls.in_flight(call):
        async with call.clock():
            asked = asyncio.create_task(owner.answer(None))
            while not short.asked:
                await asyncio.sleep(0)
    await waiting(asked, owner)
    await owner.answer_waiting(Client(None, able=False))
    assert not asked.done()
    await owner.answer_waiting(long)
    assert await asked == answer
    assert (short.asked, long.asked) == (1, 1)


@pytest.mark.usefixtures("soon")
async def test_a_question_between_calls_goes_to_the_sessions_own_stream() -> None:
    async def session(method: str, params: Any) -> dict[str, Any]:
        return {"roots": [{"uri": f"file:///{method}"}]}

    assert await Roots(InFlight(owned=True), session).answer(None) == {"roots": [{"uri": "file:///roots/list"}]}


@pytest.mark.usefixtures("soon")
async def test_a_client_that_never_answers_is_waited_for_once() -> None:
    owner, silent = Roots(InFlight(owned=True)), Client(None)
    for expected in ("The client did not answer", "There is no call in flight whose client could be asked roots/list"):
        asked = asyncio.create_task(owner.answer(None))
        await waiting(asked, owner)
        await owner.answer_waiting(silent)
        with pytest.raises(MCPError, match=expected):
            await asked
    assert silent.asked == 1


@pytest.mark.usefixtures("soon")
async def test_a_clients_refusal_is_the_answer() -> None:
    owner = Roots(InFlight(owned=True))
    asked = asyncio.create_task(owner.answer(None))
    await waiting(asked, owner)
    await owner.answer_waiting(Client(MCPError(-1, "no")))
    with pytest.raises(MCPError, match="no"):
        await asked


class AwayOnce:
    """Pub/sub that cannot be had the first time."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.asked = 0

    def subscribed(self, channel: str, hear: Any) -> Any:
        self.asked += 1
        if self.asked == 1:
            raise StateUnavailable("away")
        return self._real.subscribed(channel, hear)

    async def publish(self, channel: str, payload: str) -> None:
        await self._real.publish(channel, payload)


async def test_changes_of_roots_are_passed_on_to_the_clients_own_connections_also_after_redis_was_away(
    pass_time: Callable[[float], Awaitable[None]],
) -> None:
    told: list[str] = []

    def connection(owner: str) -> Any:
        async def notify(_method: str) -> None:
            told.append(owner)

        return SimpleNamespace(key=ConnectionKey("session", owner, "c", "alice"), notify=notify)

    pool: Any = SimpleNamespace(open=[connection("s1"), connection("s2")])
    async with open_state(None) as opened:
        pubsub: Any = AwayOnce(opened.pubsub)
        state = replace(opened, pubsub=pubsub)
        passing = asyncio.create_task(roots_changes.pass_on_roots_changes(state, pool))
        async with asyncio.timeout(60):
            while pubsub.asked < 2:
                await pass_time(roots_changes.RESUBSCRIBE_S)
            while not told:
                await pubsub.publish(state.keys.roots_changed(), json.dumps({"session": "s1", "user": "alice"}))
                await pass_time(0)
        passing.cancel()
    assert set(told) == {"s1"}
