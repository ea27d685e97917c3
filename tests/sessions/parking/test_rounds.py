"""A handler that asks works for modern clients as for any other, whichever worker each round reaches."""

from __future__ import annotations

from typing import Any

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tools.messages import text

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")

ACCEPT = {"action": "accept", "content": {"name": "bob"}}


async def elicited(_: Any, params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": f"[{params.message}]"})


async def sampled(*_: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="sampled")
    return types.CreateMessageResult(role="assistant", content=content, model="m")


async def listed(_: Any) -> types.ListRootsResult:
    return types.ListRootsResult(roots=[types.Root(uri="file:///here"), types.Root(uri="file:///there")])


@pytest.fixture(params=[1, 2], ids=["one worker", "two workers in turn"])
def workers(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.mark.parametrize(
    ("tool", "expected"),
    [
        ("twice", "[first] [second] for alice"),
        ("both", "[left] [right]"),
        ("sample", "sampled"),
        ("roots", "file:///here file:///there"),
        ("chatty", "[x]"),
    ],
)
async def test_the_sdk_client_gets_through_every_kind_of_question(
    state_url: str | None, open_fleet: Any, workers: int, tool: str, expected: str
) -> None:
    async with (
        open_fleet(state_url, workers=workers) as fleet,
        fleet.client(elicitation_callback=elicited, sampling_callback=sampled, list_roots_callback=listed) as client,
    ):
        assert client.session.protocol_version == "2026-07-28"
        for _ in range(3):
            assert text(await client.call_tool(tool)) == expected
        assert sum(worker.parking.parked for worker in fleet.workers.values()) == 0


async def test_progress_and_logs_of_each_round_reach_the_sdk_client(
    state_url: str | None, open_fleet: Any, workers: int
) -> None:
    logs: list[Any] = []
    progress: list[float] = []

    async def on_log(params: types.LoggingMessageNotificationParams) -> None:
        logs.append(params.data)

    async def on_progress(value: float, total: float | None, message: str | None) -> None:
        progress.append(value)

    async with (
        open_fleet(state_url, workers=workers) as fleet,
        fleet.client(elicitation_callback=elicited, logging_callback=on_log, log_level="info") as client,
    ):
        await client.call_tool("chatty", progress_callback=on_progress)
    assert progress == [1, 2]
    assert logs == ["before", "coarse"]


async def test_questions_asked_at_once_come_in_one_round(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "both")
        assert asked["resultType"] == "input_required"
        assert asked["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "gateway"
        messages = {key: ask["params"]["message"] for key, ask in asked["inputRequests"].items()}
        assert messages == {"elicitation-0": "left", "elicitation-1": "right"}
        answers = {
            "elicitation-1": {"action": "accept", "content": {"name": "r"}},
            "elicitation-0": {"action": "accept", "content": {"name": "l"}},
        }
        assert text(await fleet.call("w1", "both", state=asked["requestState"], responses=answers)) == "l r"


async def test_a_call_asks_no_more_than_a_hundred_questions_at_once(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        assert len((await fleet.call("w0", "crowd", arguments={"count": 100}))["inputRequests"]) == 100
        with pytest.raises(MCPError, match="100 questions in one call"):
            await fleet.call("w0", "crowd", arguments={"count": 101})


@pytest.mark.parametrize(("method", "target"), [("prompts/get", "p"), ("resources/read", "test://r")])
async def test_prompts_and_resources_may_ask_too(
    state_url: str | None, open_fleet: Any, method: str, target: str
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", target, method=method)
        answers = {key: {"action": "decline"} for key in asked["inputRequests"]}
        done = await fleet.call("w1", target, method=method, state=asked["requestState"], responses=answers)
        assert done["resultType"] == "complete"
        assert "decline" in str(done)


async def test_log_messages_honour_the_level_of_the_round_that_carries_them(
    state_url: str | None, open_fleet: Any, new_post: Any
) -> None:
    async with open_fleet(state_url) as fleet:
        first, second = new_post(), new_post()
        asked = await fleet.call("w0", "chatty", level="error", post=first)
        answers = {"elicitation-0": ACCEPT}
        await fleet.call("w1", "chatty", state=asked["requestState"], responses=answers, level="debug", post=second)
        assert first.frames == [("progress", 1, "before")]
        assert second.frames == [
            ("progress", 2, "after"),
            ("notifications/message", "fine"),
            ("notifications/message", "coarse"),
        ]


async def test_a_handler_that_never_asks_is_served_as_without_parking(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        assert text(await fleet.call("w0", "echo", arguments={"text": "hello"})) == "hello"
        assert (await fleet.call("w0", "fail"))["isError"] is True
        assert fleet.workers["w0"].parking.parked == 0


async def test_a_handlers_own_rounds_keep_their_state_to_themselves(state_url: str | None, open_fleet: Any) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "own")
        assert list(asked["inputRequests"]) == ["mine"]
        answers = {"mine": {"action": "decline"}}
        done = await fleet.call("w1", "own", state=asked["requestState"], responses=answers)
        assert text(done) == '{"park": "me"} [\'mine\']'


async def test_the_handlers_connection_is_closed_when_it_ends_and_not_before(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        asked = await fleet.call("w0", "tidy")
        assert not fleet.gates.closed.is_set()
        done = await fleet.call("w0", "tidy", state=asked["requestState"], responses={"elicitation-0": ACCEPT})
        assert text(done) == "closed early: False"
        assert fleet.gates.closed.is_set()


async def test_what_no_round_can_carry_is_refused(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        with pytest.raises(MCPError, match="ping"):
            await fleet.call("w0", "pinging")


async def test_a_question_may_have_a_time_limit_of_its_own(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        with pytest.raises(MCPError, match="Timed out"):
            await fleet.call("w0", "impatient")


async def test_a_question_that_timed_out_is_not_offered_with_the_next_one(open_fleet: Any) -> None:
    async with open_fleet(None, workers=1) as fleet:
        asked = await fleet.call("w0", "impatient_then")
        assert [question["params"]["message"] for question in asked["inputRequests"].values()] == ["second"]


CAPABILITIES: list[tuple[str, dict[str, Any], dict[str, Any] | None]] = [
    ("twice", {}, {"elicitation": {"form": {}}}),
    ("twice", {"elicitation": {"url": {}}}, {"elicitation": {"form": {}}}),
    ("twice", {"elicitation": {}}, None),
    ("url", {"elicitation": {}}, {"elicitation": {"url": {}}}),
    ("url", {"elicitation": {"form": {}}}, {"elicitation": {"url": {}}}),
    ("url", {"elicitation": {"url": {}}}, None),
    ("sample", {"elicitation": {}}, {"sampling": {}}),
    ("roots", {}, {"roots": {}}),
]


@pytest.mark.parametrize(("tool", "declared", "missing"), CAPABILITIES)
async def test_only_what_the_client_declared_is_asked_of_it(
    open_fleet: Any, tool: str, declared: dict[str, Any], missing: dict[str, Any] | None
) -> None:
    async with open_fleet(None, workers=1) as fleet:
        if missing is None:
            assert (await fleet.call("w0", tool, capabilities=declared))["resultType"] == "input_required"
            return
        with pytest.raises(MCPError) as refused:
            await fleet.call("w0", tool, capabilities=declared)
        assert refused.value.code == -32021
        assert refused.value.data == {"requiredCapabilities": missing}


async def test_the_capabilities_that_count_are_those_of_the_current_request(
    state_url: str | None, open_fleet: Any
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        with pytest.raises(MCPError) as refused:
            await fleet.call(
                "w1",
                "twice",
                state=asked["requestState"],
                responses={"elicitation-0": ACCEPT},
                capabilities={"sampling": {}},
            )
        assert refused.value.code == -32021


async def test_a_question_still_open_is_withdrawn_when_the_client_can_no_longer_answer_it(
    state_url: str | None, open_fleet: Any
) -> None:
    async with open_fleet(state_url) as fleet:
        asked = await fleet.call("w0", "twice")
        with pytest.raises(MCPError) as refused:
            await fleet.call("w1", "twice", state=asked["requestState"], capabilities={"sampling": {}})
        assert refused.value.data == {"requiredCapabilities": {"elicitation": {"form": {}}}}
