"""What the log says a request was about."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets

from switchboard.http.middleware.access import About, as_named, noted, word
from tools.fleet.children import Child, answers, free_port, start
from tools.fleet.workers import COMMAND, drive_token


def known(params: Mapping[str, Any]) -> tuple[str, str | None]:
    name = params.get("name")
    return (name if isinstance(name, str) else "", {"notes__add": "notes"}.get(str(name)))


def about(value: Any) -> tuple[str, dict[str, Any]]:
    found = About(known)
    found.note(value)
    return found.text, dict(found.fields)


def call(name: Any, method: str = "tools/call", **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"name": name, **params}}


@pytest.mark.parametrize(
    ("message", "text", "fields"),
    [
        (call("whoami"), "tools/call whoami", {"rpc": "tools/call", "tool": "whoami"}),
        (
            call("notes__add", arguments={"text": "sesame"}),
            "tools/call notes__add",
            {"rpc": "tools/call", "tool": "notes__add", "backend": "notes"},
        ),
        (call("greet", "prompts/get"), "prompts/get greet", {"rpc": "prompts/get", "prompt": "greet"}),
        (
            call(None, "resources/read", uri="https://user:sesame@example.com/a?key=sesame#sesame"),
            "resources/read https://example.com/a",
            {"rpc": "resources/read", "resource": "https://example.com/a"},
        ),
        ({"method": "ping", "id": 1}, "ping", {"rpc": "ping"}),
        ({"method": "notifications/initialized"}, "notifications/initialized", {"rpc": "notifications/initialized"}),
        ({"id": 1, "result": {"content": "sesame"}}, "response", {"rpc": "response"}),
        ({"method": "tools/call", "id": 1, "params": ["sesame"]}, 'tools/call ""', {"rpc": "tools/call", "tool": '""'}),
        ({"method": 7}, "?", {"rpc": "?"}),
        ("sesame", "?", {"rpc": "?"}),
    ],
)
def test_a_message_is_told_by_its_method_and_what_it_is_about(message: Any, text: str, fields: dict[str, Any]) -> None:
    assert about(message) == (text, fields)
    assert "sesame" not in str(about(message))


def test_a_batch_is_one_line_with_its_first_messages() -> None:
    batch = [call("whoami"), {"method": "ping", "id": 2}, call("notes__add"), {"method": "ping", "id": 3}]
    assert about(batch) == ("batch of 4: tools/call whoami, ping, tools/call notes__add, …", {"batch": 4})


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("whoami", "whoami"),
        ("whoami 200 8 ms admin", '"whoami 200 8 ms admin"'),
        ("a\nb", '"a\\nb"'),
        ("\x1b[31mred\x1b[0m", "red"),
        ("who\u202eami", "whoami"),
        ("größe", '"größe"'),
        ("x" * 1_000_000, f'"{"x" * 128}…"'),
    ],
)
def test_a_word_of_a_client_cannot_be_taken_for_the_words_around_it(written: str, shown: str) -> None:
    assert word(written) == shown


def test_where_nobody_keeps_a_log_nothing_is_noted() -> None:
    assert noted({"type": "websocket"}, call("whoami")).text == "tools/call whoami"
    assert as_named({"name": 7}) == ("", None)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Child]]:
    """A worker, and the log it writes."""
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PORT": str(port), "LOG_FORMAT": "json"}
    child = start("worker", [COMMAND, "serve"], tmp_path_factory.mktemp("access"), env)
    child.wait_until(lambda: answers(port, "/readyz"), 120)
    yield f"http://localhost:{port}", child
    child.stop()


@pytest.fixture(scope="module")
def token(worker: tuple[str, Child]) -> str:
    return drive_token(worker[0], "alice")


def lines(child: Child, containing: str) -> list[dict[str, Any]]:
    """The lines of the log whose message has this in it, once there is one."""

    def found() -> list[dict[str, Any]]:
        events = [json.loads(line) for line in child.log.read_text().splitlines() if line.startswith("{")]
        return [event for event in events if containing in event["message"]]

    child.wait_until(lambda: bool(found()), 120)
    return found()


CLIENT = {"name": "probe", "version": "1"}
INITIALIZE = {"protocolVersion": "2025-03-26", "capabilities": {}, "clientInfo": CLIENT}
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}


def test_a_call_is_one_line_that_says_method_tool_status_time_and_person(
    worker: tuple[str, Child], token: str, tmp_path: Path
) -> None:
    base, child = worker
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    with httpx2.Client(headers=headers, trust_env=False, timeout=60) as http:

        def post(message: Any, **more: str) -> httpx2.Response:
            return http.post(f"{base}/mcp", json=message, headers=more)

        opened = post({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE})
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        post(call("whoami", arguments={"password": "sesame-in-arguments"}), **session)
        post([call("whoami"), call("nobody's") | {"id": 2}], **session)
        routing = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "echo"}
        post(call("echo", arguments={"message": "sesame-in-arguments"}, _meta=MODERN), **routing)
        http.get(f"{base}/mcp", headers={"Accept": "application/json"} | session)

    (whoami,) = lines(child, "tools/call whoami 2")
    assert re.fullmatch(r"tools/call whoami 200 \d+ ms alice", whoami["message"])
    assert (whoami["rpc"], whoami["tool"], whoami["backend"]) == ("tools/call", "whoami", "everything")
    assert (whoami["method"], whoami["path"], whoami["status"], whoami["person"]) == ("POST", "/mcp", 200, "alice")
    (batch,) = lines(child, "batch of 2")
    assert re.fullmatch(r'batch of 2: tools/call whoami, tools/call "nobody\'s" 200 \d+ ms alice', batch["message"])
    assert batch["batch"] == 2
    (echo,) = lines(child, "tools/call echo")
    assert re.fullmatch(r"tools/call echo 200 \d+ ms alice", echo["message"])
    assert re.fullmatch(r"GET /mcp 406 \d+ ms alice", lines(child, "GET /mcp")[0]["message"])
    assert "sesame" not in child.log.read_text()
    assert token not in child.log.read_text()


async def test_a_message_on_a_websocket_has_its_line_too(worker: tuple[str, Child], token: str) -> None:
    base, child = worker
    headers = {"Authorization": f"Bearer {token}"}
    protocols = [websockets.Subprotocol("mcp")]
    url = f"{base.replace('http', 'ws', 1)}/mcp"
    async with websockets.connect(url, subprotocols=protocols, additional_headers=headers) as socket:
        await socket.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": INITIALIZE}))
        await socket.recv()
        await socket.send(json.dumps(call("add", arguments={"a": 1, "b": 2})))
        await socket.recv()
    (said,) = lines(child, "tools/call add")
    assert said["message"] == "tools/call add on a websocket alice"
    assert said["backend"] == "everything"


def test_one_person_has_one_name(worker: tuple[str, Child], token: str) -> None:
    assert token
    events = [json.loads(line) for line in worker[1].log.read_text().splitlines() if line.startswith("{")]
    named = {event[key] for event in events for key in ("person", "principal", "subject") if event.get(key)}
    assert named == {"alice"}
