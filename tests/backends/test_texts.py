"""What a backend says reaches people without what they would not see, and without what only this gateway says."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError

from switchboard.backends import Backend, Patience, Stdio, texts
from switchboard.backends.errors import passed_on
from switchboard.common.visible_text import ANSI, DRIVING, plain
from tools.fleet.workers import offered

HIDDEN = "\x1b[31mred\x1b[0m \u202eabc\x07\U000e0041"
SHOWN = "red abc"


def block(given: Any) -> Any:
    return texts.result({"content": [given]})["content"][0]


def test_the_text_of_a_result_loses_what_drives_a_terminal_or_turns_the_direction() -> None:
    assert block({"type": "text", "text": HIDDEN}) == {"type": "text", "text": SHOWN}
    prompt = {"description": HIDDEN, "messages": [{"role": "user", "content": {"type": "text", "text": HIDDEN}}]}
    assert texts.result(prompt) == {
        "description": SHOWN,
        "messages": [{"role": "user", "content": {"type": "text", "text": SHOWN}}],
    }


@pytest.mark.parametrize(
    "text",
    [
        "a\tb\r\nc",
        "co\u00adop",
        "\ufefffile",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u200f\u05e9\u05dc\u05d5\u05dd\u200e",
        "\U0001f469\u200d\U0001f467",
        "zero\u200bwidth",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    ],
)
def test_a_text_that_may_be_data_keeps_what_belongs_to_languages_and_files(text: str) -> None:
    assert plain(text) == text


ODD = st.sampled_from(
    ["\x1b[31m", "\x1b]0;t\x07", "\x85", "\u202e", "\u2066", "\u2019", "\ud800", "\U000e0041", "\U0001f3f4", "é"]
)


@given(st.lists(ODD | st.text(max_size=3), max_size=6).map("".join))
def test_nothing_that_drives_a_terminal_is_overlooked_where_a_text_looks_plain(text: str) -> None:
    assert plain(text) == DRIVING.sub("", ANSI.sub("", text))


@given(st.sampled_from([chr(code) for code in range(0x110000) if DRIVING.match(chr(code))]))
def test_each_character_that_is_taken_out_is_found(character: str) -> None:
    assert plain(f"a{character}b") == "ab"


@pytest.mark.parametrize("member", ["structuredContent", "contents"])
def test_data_goes_on_as_it_is(member: str) -> None:
    data = {"text": HIDDEN, "uri": "javascript:x"}
    assert texts.result({member: [data]}) == {member: [data]}
    assert block({"type": "resource", "resource": {"uri": "x:y", "text": HIDDEN}})["resource"]["text"] == HIDDEN


@pytest.mark.parametrize(
    "uri", ["javascript:alert(1)", "JAVASCRIPT:x", "java\nscript:x", "\x01javascript:x", "vbscript:x"]
)
def test_a_link_that_runs_a_program_is_left_out_and_said(uri: str) -> None:
    assert block({"type": "resource_link", "uri": uri, "name": "x"}) == texts.LEFT_OUT
    assert block({"type": "resource", "resource": {"uri": uri, "text": "x"}}) == texts.LEFT_OUT


def test_a_link_keeps_its_target_and_loses_what_is_hidden_in_its_prose() -> None:
    link = {"type": "resource_link", "uri": "report://q1", "name": HIDDEN, "title": HIDDEN, "size": 5}
    icons = [{"src": "javascript:x"}, {"src": "https://example.org/i.png"}]
    assert block({**link, "icons": icons}) == {**link, "name": SHOWN, "title": SHOWN, "icons": icons[1:]}


def test_meta_keys_of_the_envelope_and_of_the_gateway_are_not_a_backends_to_write() -> None:
    reserved = {
        "io.modelcontextprotocol/serverInfo": {"name": "switchboard", "version": "9"},
        "io.modelcontextprotocol/subscriptionId": 1,
        "switchboard/stateLost": True,
        "switchboard/anything": 1,
    }
    own = {"example.org/x": 1, "ui": {"resourceUri": "ui://x"}, "traceparent": "00-0-0-00"}
    assert texts.result({"_meta": {**reserved, **own}}) == {"_meta": own}
    assert texts.notice({"_meta": {**reserved, **own}}) == {"_meta": own}


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "data:text/html,x",
        "https://u:p@example.org",
        "https://",
        "x",
        "",
        5,
        "https://exa\u202emple.org",
        "https://example.org/ x",
        "http://[x",
        "\x01javascript:x",
    ],
)
def test_a_question_to_open_what_is_no_web_page_is_refused(url: Any) -> None:
    asked = {"mode": "url", "url": url, "message": "Sign in", "elicitationId": "1"}
    with pytest.raises(MCPError, match="url must be that of a web page"):
        texts.question("elicitation/create", asked)
    with pytest.raises(MCPError, match="url must be that of a web page"):
        texts.result({"inputRequests": {"a": {"method": "elicitation/create", "params": asked}}})
    told = passed_on("b", MCPError(-32042, "Sign in", {"elicitations": [asked]}))
    assert told.error.data == {"elicitations": []}


def test_what_is_no_page_at_all_among_the_pages_of_an_error_is_left_out() -> None:
    page = {"mode": "url", "url": "https://example.org/", "message": "Sign in", "elicitationId": "1"}
    told = passed_on("b", MCPError(-32042, "Sign in", {"elicitations": [7, None, [page], page]}))
    assert told.error.data == {"elicitations": [page]}


def test_a_page_may_be_http_or_https() -> None:
    for url in ("https://example.org/a?b=c#d", "http://localhost:8080/"):
        assert texts.question("elicitation/create", {"mode": "url", "url": url, "message": "m"})["url"] == url


def test_a_question_loses_what_is_hidden_in_its_prose_and_keeps_what_is_answered_with() -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string", "title": HIDDEN, "description": HIDDEN, "enum": ["co\u00adop"]}},
    }
    asked = texts.question("elicitation/create", {"message": HIDDEN, "requestedSchema": schema})
    assert asked["message"] == SHOWN
    assert asked["requestedSchema"]["properties"]["name"] == {
        "type": "string", "title": SHOWN, "description": SHOWN, "enum": ["co\u00adop"],
    }  # fmt: skip
    sampling = {"systemPrompt": HIDDEN, "messages": [{"role": "user", "content": {"type": "text", "text": HIDDEN}}]}
    assert texts.question("sampling/createMessage", sampling) == {
        "systemPrompt": SHOWN,
        "messages": [{"role": "user", "content": {"type": "text", "text": SHOWN}}],
    }


def test_log_messages_and_errors_lose_it_too() -> None:
    said = texts.notice({"level": "info", "logger": HIDDEN, "data": {"a": [HIDDEN, 1]}})
    assert said == {"level": "info", "logger": SHOWN, "data": {"a": [SHOWN, 1]}}
    assert passed_on("b", MCPError(-1, HIDDEN, {"kept": HIDDEN})).error.message == f"Backend 'b': {SHOWN}"


def test_the_data_of_a_log_message_is_cleaned_down_to_a_depth_and_is_whole_below() -> None:
    def nested(depth: int, inner: Any) -> Any:
        for number in range(depth):
            inner = [inner] if number % 2 else {"a": inner}
        return inner

    assert texts.notice({"data": nested(64, HIDDEN)})["data"] == nested(64, SHOWN)
    assert texts.notice({"data": nested(65, [HIDDEN])})["data"] == nested(65, [HIDDEN])


SPEAKING = """
import json, sys
HIDDEN = json.loads(sys.argv[1])
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    method = m.get("method")
    if method == "initialize":
        info = {"name": "speaking", "version": "1"}
        version = m["params"]["protocolVersion"]
        say(id=m["id"], result={"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info})
    elif method == "tools/list":
        say(id=m["id"], result={"tools": [{"name": "t", "inputSchema": {"type": "object"}}]})
    elif method == "tools/call":
        call = m["id"]
        say(method="notifications/message", params={"level": "info", "data": HIDDEN})
        form = {"type": "object", "properties": {}}
        say(id="q", method="elicitation/create", params={"message": HIDDEN, "requestedSchema": form})
    elif m.get("id") == "q":
        meta = {"switchboard/stateLost": True, "io.modelcontextprotocol/serverInfo": {"name": "false", "version": "0"}}
        content = [{"type": "text", "text": HIDDEN}, {"type": "resource_link", "uri": "javascript:x", "name": "x"}]
        say(id=call, result={"content": content, "_meta": meta})
    elif "id" in m and method:
        say(id=m["id"], error={"code": -32601, "message": "Method not found"})
"""


@pytest.mark.parametrize("era", ["handshake", "modern"])
async def test_a_client_of_either_era_is_shown_it_clean(
    era: str, fleet: Any, connect: Any, person: Any, tmp_path: Path
) -> None:
    file = tmp_path / "speaking.py"
    file.write_text(SPEAKING)
    child = Stdio(sys.executable, ("-S", str(file), json.dumps(HIDDEN)), era="handshake")
    (url,) = await fleet([Backend("own", child, scope="session", patience=Patience(start=20, call=10, stop=0.5))])
    async with connect(url, era, person) as client:
        await offered(client, "own__t")
        result = await client.call_tool("own__t")
    assert person.asked == [SHOWN]
    assert person.heard == [SHOWN]
    assert [each.text for each in result.content] == [SHOWN, texts.LEFT_OUT["text"]]
    assert "switchboard/stateLost" not in (result.meta or {})
    stamp = (result.meta or {}).get("io.modelcontextprotocol/serverInfo", {"name": "switchboard"})
    assert stamp["name"] == "switchboard"
