"""What backends write that is no message, or not quite one: skipped, read as it was meant, or refused at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any, ClassVar

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse, TextContent

from switchboard.backends import Bounds, Patience
from switchboard.backends.transports.framing import Cut, LineSplitter, parsed
from switchboard.backends.transports.messages import Unreadable, read

LONG = Patience(start=20, call=60, idle=60, stop=0.5)
AT_ONCE_S = 15


async def called(client: Any) -> str:
    """The text of a call, or its error as `code: message`, well before the call's time is over."""
    async with asyncio.timeout(AT_ONCE_S):
        try:
            (content,) = (await client.call_tool("odd__t")).content
        except MCPError as error:
            return f"{error.code}: {error.message}"
    assert isinstance(content, TextContent)
    return content.text


def answer(text: str = "read") -> str:
    return json.dumps({"jsonrpc": "2.0", "result": {"content": [{"type": "text", "text": text}]}})[:-1] + ',"id":$ID}'


TEXT = '{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"%s"}]}}'


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([TEXT % r"cut \ud83d"], "cut \ufffd"),
        ([TEXT % r"\udc00 cut"], "\ufffd cut"),
        ([TEXT % r"whole \ud83d\ude00, and \\ud83d"], "whole \U0001f600, and \\ud83d"),
        ([TEXT % "raw \ud83d"], "raw \ufffd\ufffd\ufffd"),
        ([TEXT % "a\ttab"], "a\ttab"),
        (["\ufeff" + answer()], "read"),
        (["\x1b[2K\x1b[0m" + answer()], "read"),
        (["> odd@1.0.0 start", "> node index.js", "", answer() + "\r"], "read"),
        (["npm WARN deprecated {inflight@1.0.6}", answer()], "read"),
        (['{"level":"info","id":1,"msg":"called"}', answer()], "read"),
        (["Debugger attached." + answer()], "read"),
        (["[" + answer() + "]"], "read"),
        (['{"jsonrpc":"2.0","method":"notifications/message","params":[]}' + answer()], "read"),
        ([answer().replace("$ID", '"$ID"')], "read"),
        ([answer().replace("$ID", "$ID.0")], "read"),
        ([answer()[:-1] + ',"error":null,"extra":[1]}'], "read"),
    ],
)
async def test_an_answer_is_read_as_it_was_meant(lines: list[str], text: str, scripted: Any, open_gateway: Any) -> None:
    async with open_gateway(scripted({"say": {"tools/call": lines}}, patience=LONG)) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            assert await called(client) == text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"jsonrpc":"2.0","id":$ID,"result":{"content":[{"type":"text","text":"cut', "Unterminated string"),
        ('{"jsonrpc":"2.0","id":$ID,"result":{"a":undefined}}', "Expecting value"),
        ('{"result":{"id":99,"a":NULL},"jsonrpc":"2.0","id":$ID}', "Expecting value"),
        ('{"jsonrpc":"2.0","id":$ID,"result":"done"}', 'its result is not an object: "done"'),
        ('{"jsonrpc":"2.0","id":$ID,"result":[1]}', "its result is not an object: [1]"),
        ('{"jsonrpc":"2.0","id":$ID}', "it has neither a result nor an error"),
        ('{"jsonrpc":"2.0","id":$ID,"error":"boom"}', 'its error has no code and message: "boom"'),
        ('{"jsonrpc":"2.0","id":$ID,"error":{"message":"boom"}}', "its error has no code and message"),
        ('{"id":$ID,"result":{"content":[]}}', 'it has no "jsonrpc": "2.0"'),
        ('{"jsonrpc":"1.0","id":$ID,"result":{"content":[]}}', 'it has no "jsonrpc": "2.0"'),
        ('{"jsonrpc":"2.0","id":null,"result":{"content":[]}}', "it has no id"),
        ('{"jsonrpc":"2.0","id":$ID,"result":' + "[" * 3000 + "]" * 3000 + "}", "recursion"),
        ('{"jsonrpc":"2.0","id":$ID,"result":{"a":' + "[" * 400 + "]" * 400 + "}}", "recursion"),
        ('{"jsonrpc":"2.0","id":$ID,"result":{}}', "content is missing"),
    ],
)
async def test_an_answer_that_cannot_be_taken_is_refused_at_once_with_the_backends_name(
    line: str, why: str, scripted: Any, open_gateway: Any
) -> None:
    async with open_gateway(scripted({"say": {"tools/call": [line]}}, patience=LONG)) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            said = await called(client)
    assert said.startswith("-32011: Backend 'odd': its answer")
    assert why in said


async def test_an_error_without_an_id_is_for_the_only_call_that_waits(scripted: Any, open_gateway: Any) -> None:
    line = '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}'
    async with open_gateway(scripted({"say": {"tools/call": [line]}}, patience=LONG)) as opened:
        await opened.discovered()
        async with Client(opened.server) as client:
            assert await called(client) == "-32700: Backend 'odd': Parse error"


@pytest.mark.parametrize(
    "first", ["\ufeff", "starting…\r\n\r\n", "\x1b]0;title\x07", "\x00", "> a@1 start\n> node a\n"]
)
async def test_what_is_written_before_the_first_message_is_skipped(
    first: str, scripted: Any, open_gateway: Any
) -> None:
    async with open_gateway(scripted({"first": first})) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert await called(client) == "call 1"


async def test_a_text_in_another_encoding_is_read_with_its_letters_replaced(scripted: Any, open_gateway: Any) -> None:
    script = {"latin1": True, "say": {"tools/call": [TEXT % "café"]}}
    async with open_gateway(scripted(script, patience=LONG)) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert await called(client) == "caf\ufffd"


@pytest.mark.parametrize("form", ['{"jsonrpc":"2.0","id":$ID,"result":%s}', '{"result":%s,"jsonrpc":"2.0","id":$ID}'])
async def test_a_message_that_is_too_long_is_refused_and_the_child_keeps_its_memory(
    form: str, scripted: Any, open_gateway: Any
) -> None:
    long = form % '{"content":[{"type":"text","text":"$LONG"}]}'
    log = '{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"$LONG"}}'
    prompt = '{"jsonrpc":"2.0","id":$ID,"result":{"messages":[]}}'
    script = {"say": {"resources/read": [long], "prompts/get": [log, prompt]}}
    backend = scripted(script, patience=LONG, bounds=Bounds(message_bytes=100_000))
    async with open_gateway(backend) as opened, Client(opened.server) as client:
        await opened.discovered()
        assert await called(client) == "call 1"
        provider = opened.providers["odd"]
        for method, body, refused in [
            ("resources/read", {"uri": "a://b"}, True),
            ("prompts/get", {"name": "p"}, False),
        ]:
            said = ""
            try:
                async with asyncio.timeout(AT_ONCE_S):
                    await provider._forwarding.call(method, body, Nobody())
            except MCPError as error:
                said = f"{error.code}: {error.message}"
            expected = "-32011: Backend 'odd': it sent a message of more than 100000 bytes"
            assert said == (expected if refused else "")
        assert await called(client) == "call 2"


class Nobody:
    """A client that can be asked nothing. Satisfies `ClientChannel`."""

    era = "handshake"
    capabilities: ClassVar[dict[str, Any]] = {}
    wants_progress = False

    async def notify(self, method: str, params: Any) -> None:
        return


def test_a_long_line_is_cut_without_being_held() -> None:
    lines = LineSplitter(10_000)
    chunks = [b'{"id":1,' + b"x" * 65_000, *[b"y" * 65_000] * 50, b'"id":2}\n{"next":1}\n']
    fed = [list(lines.feed(chunk)) for chunk in chunks]
    assert sum(map(len, lines._parts)) < 10_000
    assert fed[:-1] == [[]] * 51
    cut, after = fed[-1]
    assert isinstance(cut, Cut)
    assert (cut.beginning[:8], len(cut.beginning)) == (b'{"id":1,', 4096)
    assert (cut.end[-7:], len(cut.end)) == (b'"id":2}', 4096)
    assert after == b'{"next":1}'


def test_several_messages_in_one_line_are_all_read() -> None:
    broken = '{"jsonrpc":"2.0","id":1,"result":{"a":"cut'
    found = read(
        broken + '{"jsonrpc":"2.0","id":2,"result":[]}{"jsonrpc":"2.0","id":3,"method":"roots/list","params":[]}'
    )
    refused, answered, asked = found
    assert isinstance(refused, JSONRPCError)
    assert refused.id == 1
    assert answered == JSONRPCResponse(jsonrpc="2.0", id=2, result={})
    assert asked == JSONRPCRequest(jsonrpc="2.0", id=3, method="roots/list", params=None)


def test_parameters_that_are_no_object_count_as_none() -> None:
    assert read('{"jsonrpc":"2.0","method":"n","params":"x"}') == [JSONRPCNotification(jsonrpc="2.0", method="n")]


@pytest.mark.parametrize("text", ["", "ready", "{", "{}", '{"id":1}', '{"jsonrpc":"2.0"}', '{"method":"GET","id":3}'])
def test_what_is_no_message_is_noise(text: str) -> None:
    with pytest.raises(Unreadable):
        read(text)


def test_a_question_that_is_too_long_is_nobodys_answer() -> None:
    (said,) = parsed(Cut(b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{', b'"}}'), 10)
    assert isinstance(said, Unreadable)
