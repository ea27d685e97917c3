"""What somebody reads whose server does not start, or speaks something else than was thought."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from mcp_types import Tool
from pydantic import ValidationError

from switchboard.backend_configs import backend
from switchboard.backends import Backend, Http, Sse, Stdio
from switchboard.config import ServerSection
from switchboard.errors import plainly
from tests.backends.conftest import Open, Raw, Serve


async def reason(open_gateway: Open, transport: Http | Sse) -> str:
    """Why it is failing."""
    async with open_gateway(Backend("far", transport, scope="shared")) as opened:
        await opened.until(lambda: opened.providers["far"].health.condition == "failing")
        said: str = opened.providers["far"].health.reason
        return said


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_connection_that_is_refused_is_called_that_without_a_status_or_a_link(
    kind: str, open_gateway: Open, free_ports: list[int]
) -> None:
    url = f"http://127.0.0.1:{free_ports[0]}/x"
    said = await reason(open_gateway, Http((url,)) if kind == "http" else Sse(url))
    assert said == f"All connection attempts failed ({url})"


@pytest.mark.parametrize(
    ("status", "hint"), [(401, ""), (405, "; if it speaks Streamable HTTP, state `type: http`"), (500, "")]
)
async def test_an_older_server_s_refusal_has_its_own_words(
    status: int, hint: str, serve: Serve, open_gateway: Open
) -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"not you"})

    assert await reason(open_gateway, Sse(await serve(refusing))) == f"HTTP {status} not you{hint}"


async def test_a_server_of_the_older_transport_that_is_taken_for_a_newer_one_is_named_with_what_to_state(
    handy: Any, serve: Serve, open_gateway: Open
) -> None:
    url = (await serve(handy.server().sse_app())).replace("/mcp", "/sse")
    said = await reason(open_gateway, Http((url,)))
    assert said.endswith("; if it speaks HTTP+SSE, state `type: sse`")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"url": "https://x.example/sse"}, Sse),
        ({"url": "https://x.example/v1/sse/?key=1"}, Sse),
        ({"url": "https://x.example/sse", "type": "http"}, Http),
        ({"urls": ["https://a.example/sse", "https://b.example/sse"]}, Http),
        ({"url": "https://x.example/mcp"}, Http),
        ({"url": "https://x.example/essence"}, Http),
    ],
)
def test_a_url_that_ends_in_sse_is_one_of_the_older_transport_unless_the_row_says_otherwise(
    row: dict[str, Any], kind: type
) -> None:
    assert isinstance(backend("x", ServerSection.model_validate(row), None).transport, kind)


def test_what_an_error_says_leaves_out_where_its_library_is_documented() -> None:
    with pytest.raises(ValidationError) as caught:
        Tool.model_validate({"name": 1})
    assert "errors.pydantic.dev" in str(caught.value)
    assert "http" not in plainly(caught.value)
    assert "name" in plainly(caught.value)
    http = "Client error '405 Method Not Allowed' for url 'x'\nFor more information check: https://developer.mozilla.org/405"
    assert plainly(ValueError(http)) == "Client error '405 Method Not Allowed' for url 'x'"
    assert plainly(KeyError()) == "KeyError"


WRONG = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"protocolVersion": 7}}), flush=True)
"""


async def test_a_wrong_answer_to_the_handshake_is_told_without_a_link(open_gateway: Open, raw: Raw) -> None:
    async with open_gateway(Backend("odd", Stdio(sys.executable, ("-c", WRONG)), scope="shared")) as opened:
        await opened.until(lambda: opened.providers["odd"].health.condition == "failing")
        said = opened.providers["odd"].health.reason
    assert "no protocol version in common" in said
    assert "http" not in said
    assert "\n" not in said
