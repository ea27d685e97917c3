from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from switchboard.log import redact, redact_text
from switchboard.log.configuration import _Clock
from switchboard.log.redaction import _HIDDEN, _SECRET_KEYS, _shown

SETUP = """
import logging, warnings
import structlog
from switchboard import log
log.configure({level!r}, {format!r})
"""


def run(program: str, level: str = "info", log_format: str = "json") -> list[str]:
    """The log lines of a process that is configured and then runs `program`; it prints nothing."""
    source = SETUP.format(level=level, format=log_format) + program
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


IN_A_LOOP = """
import asyncio, os, sys, threading
first, second = structlog.get_logger('first'), logging.getLogger('second')
async def main():
{body}
asyncio.run(main())
"""


def run_in_a_loop(body: str) -> list[str]:
    """The messages of a process that runs `body` in one turn of an event loop."""
    program = SETUP.format(level="info", format="json") + IN_A_LOOP.format(body=textwrap.indent(body, "    "))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return [json.loads(line)["message"] if line.startswith("{") else line for line in done.stderr.splitlines()]


def run_json(program: str, level: str = "info") -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(program, level)]


def test_an_event_is_one_line_of_json_with_its_context_and_worker() -> None:
    (line,) = run_json(
        "log.name_worker('w1')\n"
        "structlog.contextvars.bind_contextvars(request_id='r1')\n"
        "structlog.get_logger('x').info('session.opened', protocol='2025-11-25', count=3)"
    )
    assert line.pop("timestamp").endswith("Z")
    assert list(line)[:2] == ["level", "message"]
    assert line == {
        "message": "session.opened",
        "level": "info",
        "worker": "w1",
        "request_id": "r1",
        "protocol": "2025-11-25",
        "count": 3,
    }


def test_the_standard_library_and_uvicorn_log_in_the_same_shape() -> None:
    lines = run_json(
        "structlog.contextvars.bind_contextvars(request_id='r1')\n"
        "logging.getLogger('uvicorn.error').error('Started %s', 'it')\n"
        "warnings.warn('old')"
    )
    assert (lines[0]["message"], lines[0]["level"]) == ("Started it", "error")
    assert lines[0]["logger"] == "uvicorn.error"
    assert lines[0]["request_id"] == "r1"
    assert lines[1]["level"] == "warning"


def test_an_exception_is_part_of_its_line() -> None:
    (line,) = run_json("try:\n    1/0\nexcept ZeroDivisionError:\n    structlog.get_logger().exception('failed')")
    assert "ZeroDivisionError" in line["exception"]


def test_a_terminal_is_written_for_people() -> None:
    (line,) = run("structlog.get_logger().info('hello', port=1)", log_format="console")
    assert "hello" in line
    assert "port=1" in line
    assert not line.startswith("{")


def test_without_a_terminal_the_format_is_json() -> None:
    (line,) = run("structlog.get_logger().info('hello')", log_format="auto")
    assert json.loads(line)["message"] == "hello"


def test_the_level_holds_for_everything() -> None:
    program = (
        "structlog.get_logger().info('no')\nlogging.getLogger('a').info('no')\nstructlog.get_logger().warning('yes')"
    )
    assert [line["message"] for line in run_json(program, level="warning")] == ["yes"]


def test_libraries_that_log_tokens_when_debugging_are_kept_quiet() -> None:
    names = ["authlib.oauth2", "httpx2", "mcp.client.auth", "python_multipart", "httpcore2.http11"]
    program = f"for name in {names!r}:\n    logging.getLogger(name).debug('token')\nlogging.getLogger('a').debug('yes')"
    assert [line["message"] for line in run_json(program, level="debug")] == ["yes"]


def test_a_plugin_that_configures_logging_finds_it_done() -> None:
    lines = run_json(
        "from mcp.server.mcpserver import MCPServer\nMCPServer('plugin')\nlogging.getLogger('plugin').info('hello')"
    )
    assert [line["message"] for line in lines] == ["hello"]


SECRETS = [
    "Authorization: Bearer abc.def-123",
    "authorization='bearer abc.def-123'",
    "Basic abc.def-123",
    "GET /callback?code=abc.def-123&state=x",
    "access_token=abc.def-123",
    '{"refresh_token": "abc.def-123"}',
    "{'client_secret': 'abc.def-123'}",
    "code_verifier=abc.def-123",
    "Set-Cookie: abc.def-123; Path=/",
    "Cookie: abc.def-123",
    "redis://user:abc.def-123@redis:6379/0",
    "rediss://:abc.def-123@redis",
    "password=abc.def-123",
    "client_assertion=abc.def-123",
    "registration_access_token: abc.def-123",
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_credential_is_blanked_wherever_it_stands(text: str) -> None:
    assert "abc.def-123" not in redact_text(text)
    assert "abc.def-123" not in str(
        redact(None, "info", {"event": text, "nested": [{"deep": text}], "obj": Exception(text)})
    )


@pytest.mark.parametrize("key", ["token", "Authorization", "code_verifier", "client_secret", "cookie", "password"])
def test_what_is_called_a_credential_is_blanked_whatever_it_looks_like(key: str) -> None:
    event = redact(None, "info", {key: "abc.def-123", "inside": {key: "abc.def-123"}})
    assert "abc.def-123" not in str(event)


@pytest.mark.parametrize(
    "text",
    [
        "session.opened",
        "http://localhost:3232/mcp",
        "code 404 for /authorize",
        "invalid_token",
        "status=200 path=/token",
        "redis://127.0.0.1:6379/0",
        "code: 'MODULE_NOT_FOUND',",
        'code: "ERR_REQUIRE_ESM"',
        "code: ENOENT",
        "code=EADDRINUSE port 80",
        "{'code': -32601, 'message': 'Method not found'}",
    ],
)
def test_ordinary_words_are_left_alone(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "secret", ["ENOENTabc123", "MODULE_not-a-constant", "847261", "WDJB-MJHT-KQ", "EABCD.efg12345"]
)
def test_a_code_that_is_no_constant_is_blanked(secret: str) -> None:
    assert secret not in redact_text(f"code={secret}&state=x")


def test_no_client_fills_the_log_with_what_it_calls_itself() -> None:
    event = redact(None, "info", {"client": "x" * 100_000, "names": ["y" * 100_000], "exception": "z" * 100_000})
    assert event["client"] == "x" * 2000 + "… (100000 characters)"
    assert len(str(event["names"])) < 3000
    assert event["exception"] == "z" * 100_000


HOSTILE = (
    "a\x1b[2J\x1b]0;title\x07b",
    "a\u202etxt.exe",
    "a\r\n2026-01-01 [info] forged",
    "a\x9b31mb",
    "a\u2028b",
    "a\U000e0041b",
    "a\u3164\u2800b",
    "a\ud800b",
    "a\x00b",
)


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_nothing_that_others_wrote_drives_the_terminal_that_shows_the_log(log_format: str) -> None:
    program = (
        f"for text in {HOSTILE!r}:\n"
        "    structlog.get_logger().info(text, value=text, nested={text: [text]}, many=(text,))\n"
        "    logging.getLogger('other').info('said %s', text)\n"
    )

    lines = run(program, log_format=log_format)

    assert len(lines) == 2 * len(HOSTILE)
    shown = [str(json.loads(line)) if log_format == "json" else line for line in lines]
    assert [line for line in shown if not line.isprintable() or set(line) & set("\u3164\u2800")] == []
    assert all("\\" in line for line in shown), "what is not seen is written out, not lost"


def test_the_lines_of_an_exception_stay_lines_and_hold_nothing_else_that_is_not_seen() -> None:
    event = redact(None, "error", {"exception": "Traceback\n  ValueError: a\x1b[2J\u202eb"})
    assert event["exception"] == "Traceback\n  ValueError: a\\x1b[2J\\u202eb"


@pytest.mark.parametrize("text", ["Größe", "名前", "مرحبا", "👩‍👩", "❤️", "a b=c"])
def test_what_people_write_is_logged_as_it_is_as_far_as_it_is_seen(text: str) -> None:
    assert redact(None, "info", {"name": text})["name"] == text.replace("\u200d", "\\u200d")


def test_numbers_are_no_credentials() -> None:
    assert redact(None, "info", {"code": -32600, "token": None}) == {"code": -32600, "token": None}


@given(st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=40))
def test_no_token_survives_behind_the_word_bearer(token: str) -> None:
    assume(token not in "refused Bearer twice")
    assert token not in redact_text(f'refused "Bearer {token}" twice').replace("[redacted]", "")


@given(st.text(max_size=200))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


def test_no_text_that_a_stranger_sends_holds_the_worker_up_while_it_is_searched_for_secrets() -> None:
    (line,) = run_json("structlog.get_logger().info('x', path='/' + 'a.' * 500_000 + ':=')")  # run has a deadline
    assert line["path"].endswith("… (1000003 characters)")
    assert len(line["path"]) < 2100


def test_a_trace_that_holds_a_long_text_of_a_stranger_is_searched_in_a_time_that_grows_with_it() -> None:
    (line,) = run_json("structlog.get_logger().info('x', exception='a.' * 200_000 + ' x://u:hunter22@h')")
    assert line["exception"].endswith(" x://u:[redacted]@h")


def test_lines_of_all_loggers_of_a_process_stay_in_order() -> None:
    body = (
        "first.info('1')\n"
        "second.info('2')\n"
        "first.error('3')\n"
        "second.info('4')\n"
        "thread = threading.Thread(target=first.info, args=('5',)); thread.start(); thread.join()\n"
        "first.info('6')\n"
    )
    assert run_in_a_loop(body) == list("123456")


@pytest.mark.parametrize(
    ("ending", "printed"),
    [
        ("sys.exit(0)", []),
        ("asyncio.get_running_loop().stop()", []),
        ("1 / 0", ["ZeroDivisionError: division by zero"]),
        ("log.flush(); os._exit(1)", []),
    ],
)
def test_lines_that_wait_are_written_before_the_process_ends_and_before_it_says_why(
    ending: str, printed: list[str]
) -> None:
    lines = run_in_a_loop(f"first.info('said')\nsecond.info('too')\n{ending}")
    assert lines[:2] == ["said", "too"]
    assert lines[2:][-1:] == printed


def test_an_error_is_written_even_if_the_process_dies_at_once() -> None:
    assert run_in_a_loop("first.info('before')\nsecond.error('broken')\nos.abort()") == ["before", "broken"]


def test_a_forked_child_does_not_repeat_what_its_parent_logged() -> None:
    body = "first.info('parent')\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nelse:\n    first.info('child')"
    lines = run_in_a_loop(body)
    assert lines == ["parent", "child"]


@pytest.mark.parametrize("value", [2**70, -(2**63) - 1, 1.5, True, None, "ü", "\U0001f469", [2**70, {"a": (1, "ß")}]])
def test_values_of_a_line_are_what_was_logged(value: Any) -> None:
    (line,) = run(f"structlog.get_logger().info('x', value={value!r})")
    assert line.isascii()
    assert json.loads(line)["value"] == json.loads(json.dumps(value))


@pytest.mark.parametrize("key", ["Token", "TOKEN", "Authorization"])
def test_a_credential_is_blanked_though_the_key_was_seen_before_with_others(key: str) -> None:
    for _ in range(2):
        assert "sesame" not in str(redact(None, "info", {"event": "x", "path": "/mcp", key: "sesame-1"}))


def test_the_time_of_a_line_is_that_of_its_moment() -> None:
    before = datetime.now(UTC)
    (line,) = run_json("structlog.get_logger().info('x')")
    assert before < datetime.fromisoformat(line["timestamp"]) < datetime.now(UTC)


def test_times_go_on_from_one_second_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1_800_000_000_999_999_999, 1_800_000_001_000_000_000, 1_800_000_001_000_001_000])
    monkeypatch.setattr("time.time_ns", lambda: next(moments))
    now = _Clock().now
    assert [now(), now(), now()] == [
        "2027-01-15T08:00:00.999999Z",
        "2027-01-15T08:00:01.000000Z",
        "2027-01-15T08:00:01.000001Z",
    ]


def test_a_reader_of_the_log_that_is_gone_does_not_end_the_process() -> None:
    program = SETUP.format(level="info", format="json") + (
        "import os\n"
        "reading, writing = os.pipe(); os.dup2(writing, 2); os.close(writing); os.close(reading)\n"
        "structlog.get_logger().info('x'); logging.getLogger('a').error('y')\n"
        "os.write(1, b'served')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "served"


@given(
    st.dictionaries(
        st.sampled_from(["event", "path", "tool", "reason", "Token", "code"]),
        st.one_of(st.text(max_size=30), st.sampled_from(SECRETS), st.integers(), st.booleans(), st.none()),
    )
)
def test_what_is_soon_known_to_be_plain_would_not_be_changed_by_a_closer_look(event: dict[str, Any]) -> None:
    closer = {
        key: (_HIDDEN if key.lower() in _SECRET_KEYS else _shown(value)) if isinstance(value, str) else value
        for key, value in event.items()
    }
    assert redact(None, "info", dict(event)) == closer
