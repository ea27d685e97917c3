"""What a client may send on a retry, rightly or wrongly, here or through another worker."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from switchboard.fleet.peers import NO_CLIENT
from switchboard.identity import Principal
from switchboard.sessions.client_requests import Terms
from switchboard.sessions.parking.continuation import read
from tools.messages import text

BOB = Principal("https://issuer", "bob", "client", frozenset({"mcp"}))


def accept(name: str) -> dict[str, Any]:
    return {"action": "accept", "content": {"name": name}}


@pytest.fixture(params=["w0", "w1"], ids=["at the holder", "through another worker"])
def via(request: pytest.FixtureRequest) -> str:
    """Which worker gets the retries of a call that is parked on w0."""
    name: str = request.param
    return name


WRONG: list[Any] = [
    None,
    {},
    {"elicitation-9": {"action": "accept"}},
    {"elicitation-0": "yes"},
    {"elicitation-0": {"action": "perhaps"}},
    {"elicitation-0": None},
]


async def test_a_missing_or_malformed_answer_is_asked_for_again(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url) as fleet:
        again = asked = await fleet.call("w0", "twice")
        for responses in WRONG:
            again = await fleet.call(via, "twice", state=again["requestState"], responses=responses)
            assert again["resultType"] == "input_required", responses
            assert again["inputRequests"] == asked["inputRequests"], responses
        second = await fleet.call(
            via, "twice", state=again["requestState"], responses={"elicitation-0": accept("a"), "extra": 1}
        )
        assert list(second["inputRequests"]) == ["elicitation-1"]
        done = await fleet.call(via, "twice", state=second["requestState"], responses={"elicitation-1": accept("b")})
        assert text(done) == "a b for alice"


async def test_answers_that_are_no_object_are_refused_and_the_call_goes_on(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        with pytest.raises(MCPError) as refused:
            await fleet.call(via, "twice", state=asked["requestState"], responses=["yes"])
        assert refused.value.code == INVALID_PARAMS
        second = await fleet.call(via, "twice", state=asked["requestState"], responses={"elicitation-0": accept("a")})
        assert list(second["inputRequests"]) == ["elicitation-1"]


async def test_one_answer_of_two_asks_for_the_other_only(state_url: str | None, open_fleet: Any, via: str) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "both")
        second = await fleet.call(via, "both", state=asked["requestState"], responses={"elicitation-1": accept("r")})
        assert list(second["inputRequests"]) == ["elicitation-0"]
        done = await fleet.call(via, "both", state=second["requestState"], responses={"elicitation-0": accept("l")})
        assert text(done) == "l r"


async def test_identical_retries_at_once_share_one_outcome(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "hold")
        retry = {"state": asked["requestState"], "responses": {"elicitation-0": accept("a")}}
        both = asyncio.gather(*(fleet.call(worker, "hold", **retry) for worker in ("w0", "w1", "w1")))
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        fleet.gates.release.set()
        assert [text(result) for result in await asyncio.wait_for(both, 60)] == ["held a"] * 3


async def test_a_retry_of_an_older_round_gets_what_that_round_got(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        first = {"state": asked["requestState"], "responses": {"elicitation-0": accept("a")}}
        second = await fleet.call(via, "twice", **first)
        changed = {"state": asked["requestState"], "responses": {"elicitation-0": accept("changed my mind")}}
        for retry in (first, changed):
            assert (await fleet.call(via, "twice", **retry))["inputRequests"] == second["inputRequests"]
        last = {"state": second["requestState"], "responses": {"elicitation-1": accept("b")}}
        assert text(await fleet.call(via, "twice", **last)) == "a b for alice"
        assert text(await fleet.call(via, "twice", **last)) == "a b for alice"
        assert (await fleet.call(via, "twice", **first))["inputRequests"] == second["inputRequests"]
        assert fleet.gates.calls == 1


async def test_an_error_of_the_handler_is_the_answer_of_its_round(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "ask_and_fail")
        retry = {"state": asked["requestState"], "responses": {"elicitation-0": accept("a")}}
        for _ in range(2):
            with pytest.raises(MCPError) as failed:
                await fleet.call(via, "ask_and_fail", **retry)
            assert (failed.value.code, failed.value.message) == (-32001, "failed for a")
            assert failed.value.data == {"why": "deliberately"}


async def test_what_a_handler_left_behind_can_ask_no_more(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        assert text(await fleet.call("w0", "linger")) == "done"
        fleet.gates.release.set()
        await asyncio.wait_for(fleet.gates.closed.wait(), 60)
        assert "no back-channel" in str(fleet.gates.refused)
        assert fleet.workers["w0"].parking.parked == 0


async def test_a_holder_checks_for_itself_whose_call_it_is(open_fleet: Any) -> None:
    """The boundary has refused strangers already; a forwarded retry is not believed on the other worker's word."""
    async with open_fleet(None) as fleet:
        asked = await fleet.call("w0", "twice")
        forwarding = fleet.workers["w1"].parking._forwarding
        continuation, terms = read(json.dumps(fleet.opened(asked["requestState"]))), Terms(None, None)
        with pytest.raises(MCPError) as refused:
            await forwarding.retry(continuation, "tools/call", BOB.owner, {}, terms, NO_CLIENT)
        assert refused.value.data["reason"] == "call_expired"


async def test_a_call_that_waited_too_long_is_over(state_url: str | None, open_fleet: Any, via: str) -> None:
    async with open_fleet(state_url, ttl=0.05) as fleet:
        asked = await fleet.call("w0", "twice")
        async with asyncio.timeout(60):
            while fleet.workers["w0"].parking.parked:
                await asyncio.sleep(0.01)
        with pytest.raises(MCPError, match="waits no longer") as over:
            await fleet.call(via, "twice", state=asked["requestState"], responses={"elicitation-0": accept("a")})
        assert over.value.code == INVALID_PARAMS


async def test_working_for_longer_than_a_client_may_take_is_no_expiry(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    async with open_fleet(state_url, ttl=0.2) as fleet:
        asked = await fleet.call("w0", "hold")
        call = asyncio.create_task(
            fleet.call(via, "hold", state=asked["requestState"], responses={"elicitation-0": accept("a")})
        )
        await asyncio.wait_for(fleet.gates.entered.wait(), 60)
        done, _ = await asyncio.wait({call}, timeout=0.5)
        assert not done
        fleet.gates.release.set()
        assert text(await asyncio.wait_for(call, 60)) == "held a"


async def test_another_principal_cannot_go_on_with_the_call(state_url: str | None, open_fleet: Any, via: str) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        retry = {"state": asked["requestState"], "responses": {"elicitation-0": accept("a")}}
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await fleet.call(via, "twice", **retry, principal=BOB)
        assert list((await fleet.call(via, "twice", **retry))["inputRequests"]) == ["elicitation-1"]


async def test_a_refreshed_token_of_the_same_principal_goes_on(
    state_url: str | None, open_fleet: Any, via: str
) -> None:
    refreshed = Principal("https://issuer", "alice", "client", frozenset({"mcp", "more"}), expires_at=1.0)
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        retry = {"state": asked["requestState"], "responses": {"elicitation-0": accept("a")}}
        second = await fleet.call(via, "twice", **retry, principal=refreshed)
        assert list(second["inputRequests"]) == ["elicitation-1"]


async def test_the_state_of_one_call_does_not_open_another(state_url: str | None, open_fleet: Any, via: str) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await fleet.call(via, "both", state=asked["requestState"])


async def test_a_worker_parks_only_so_many_calls(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1, max_parked=3, max_per_principal=2) as fleet:
        first = await fleet.call("w0", "twice")
        await fleet.call("w0", "twice")
        with pytest.raises(MCPError, match="of yours") as refused:
            await fleet.call("w0", "twice")
        assert refused.value.data["reason"] == "too_many_parked_calls"
        await fleet.call("w0", "twice", principal=BOB)
        with pytest.raises(MCPError, match="on this worker"):
            await fleet.call("w0", "twice", principal=BOB)
        assert text(await fleet.call("w0", "echo", arguments={"text": "still here"})) == "still here"
        second = await fleet.call("w0", "twice", state=first["requestState"], responses={"elicitation-0": accept("a")})
        await fleet.call("w0", "twice", state=second["requestState"], responses={"elicitation-1": accept("b")})
        assert (await fleet.call("w0", "twice"))["resultType"] == "input_required"
        assert fleet.workers["w0"].parking.parked == 3
