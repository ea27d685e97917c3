from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from mcp import Client
from mcp.server.mcpserver import Elicit, MCPServer, Resolve
from mcp.server.request_state import AESGCMRequestStateCodec
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, ElicitResult, InputRequiredResult, TextContent
from pydantic import BaseModel

from switchboard.gateway.sealing import FleetTime
from switchboard.identity import Caller, Principal, serving
from tests.gateway.conftest import OpenGateway

ERAS = pytest.mark.parametrize("era", ["legacy", "auto"])
ALICE = Principal("iss", "alice", "client")
BOB = Principal("iss", "bob", "client")
KEY, OLDER_KEY = b"k" * 32, b"o" * 32


class Answer(BaseModel):
    colour: str


async def asked() -> Elicit[Answer]:
    return Elicit("Which colour?", Answer)


def painter() -> MCPServer[Any]:
    server = MCPServer("painter")

    @server.tool()
    async def paint(answer: Annotated[Answer, Resolve(asked)]) -> str:
        """Ask for a colour and use it."""
        return f"painted {answer.colour}"

    return server


async def answering(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"colour": "red"})


def connected(opened: Any, era: str = "auto") -> Client:
    return Client(opened.server, mode=era, elicitation_callback=answering)


async def first_round(client: Client) -> InputRequiredResult:
    result = await client.session.call_tool("painter__paint", {}, allow_input_required=True)
    assert isinstance(result, InputRequiredResult)
    return result


async def second_round(client: Client, first: InputRequiredResult, **changes: Any) -> Any:
    requests = first.input_requests
    assert requests is not None
    answers: Any = {key: ElicitResult(action="accept", content={"colour": "red"}) for key in requests}
    state = changes.get("state", first.request_state)
    return await client.session.call_tool("painter__paint", {}, input_responses=answers, request_state=state)


@ERAS
async def test_a_handler_that_asks_works_in_both_eras(open_gateway: OpenGateway, era: str) -> None:
    async with open_gateway((painter(), "always"), keys=[KEY]) as opened, connected(opened, era) as client:
        result = await client.call_tool("painter__paint", {})
    content = result.content[0]
    assert isinstance(content, TextContent)
    assert content.text == "painted red"


async def test_the_second_round_may_reach_another_worker_with_the_same_keys(open_gateway: OpenGateway) -> None:
    async with (
        open_gateway((painter(), "always"), keys=[OLDER_KEY]) as one,
        open_gateway((painter(), "always"), keys=[KEY, OLDER_KEY]) as two,
    ):
        with serving(Caller(ALICE)):
            async with connected(one) as here, connected(two) as there:
                result = await second_round(there, await first_round(here))
    assert not result.is_error


async def test_request_state_of_one_principal_is_worthless_to_another(open_gateway: OpenGateway) -> None:
    async with open_gateway((painter(), "always"), keys=[KEY]) as opened:
        with serving(Caller(ALICE)):
            async with connected(opened) as client:
                first = await first_round(client)
        with serving(Caller(BOB)):
            async with connected(opened) as client:
                with pytest.raises(MCPError) as caught:
                    await second_round(client, first)
    assert caught.value.code == INVALID_PARAMS
    assert caught.value.data == {"reason": "invalid_request_state"}


async def test_request_state_survives_a_token_with_other_scopes_of_the_same_principal(
    open_gateway: OpenGateway,
) -> None:
    async with open_gateway((painter(), "always"), keys=[KEY]) as opened:
        with serving(Caller(ALICE)):
            async with connected(opened) as client:
                first = await first_round(client)
        with serving(Caller(Principal("iss", "alice", "client", frozenset({"mcp"}), 99.0))):
            async with connected(opened) as client:
                assert not (await second_round(client, first)).is_error


async def test_tampered_request_state_is_refused(open_gateway: OpenGateway) -> None:
    async with open_gateway((painter(), "always"), keys=[KEY]) as opened, connected(opened) as client:
        first = await first_round(client)
        with pytest.raises(MCPError) as caught:
            await second_round(client, first, state=f"{first.request_state}-TAMPERED")
    assert caught.value.code == INVALID_PARAMS


@pytest.mark.parametrize("known_by", ["audience", "name"])
async def test_request_state_is_meant_for_one_deployment(open_gateway: OpenGateway, known_by: str) -> None:
    async with (
        open_gateway((painter(), "always"), keys=[KEY], **{known_by: "https://a.example"}) as one,
        open_gateway((painter(), "always"), keys=[KEY], **{known_by: "https://b.example"}) as two,
        connected(one) as here,
        connected(two) as there,
    ):
        first = await first_round(here)
        with pytest.raises(MCPError):
            await second_round(there, first)


async def test_injected_middleware_sees_request_state_in_the_clear(open_gateway: OpenGateway) -> None:
    seen: list[Any] = []

    async def peek(ctx: Any, call_next: Any) -> Any:
        if ctx.method == "tools/call":
            seen.append(ctx.params.get("requestState"))
        return await call_next(ctx)

    opening = open_gateway((painter(), "always"), keys=[KEY], middleware=[peek])
    async with opening as opened, connected(opened) as client:
        first = await first_round(client)
        await second_round(client, first)
    assert seen[0] is None
    assert seen[1] != first.request_state


async def test_a_state_sealed_on_a_machine_whose_clock_is_off_is_good_on_every_other() -> None:
    sealed, hour = AESGCMRequestStateCodec(["k" * 40]), 3600.0
    ahead = FleetTime(sealed, lambda: 1000.0, own=lambda: 1000.0 + hour)
    behind = FleetTime(sealed, lambda: 1010.0, own=lambda: 1010.0 - hour)
    token = ahead.seal(json.dumps({"v": 1, "iat": 1000.0 + hour, "exp": 1600.0 + hour, "s": "x"}).encode())
    assert json.loads(behind.unseal(token)) == {"v": 1, "iat": 1000.0 - hour, "exp": 1600.0 - hour, "s": "x"}
    assert json.loads(sealed.unseal(token))["iat"] == 1000.0
