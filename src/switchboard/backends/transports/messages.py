"""What a backend sent, as JSON-RPC messages: read as it was meant where that is clear, else refused under its id.

Servers write more than messages: banners, byte order marks, terminal colours, answers that were cut in the middle of a
character. Whoever waits for an answer must hear of one that cannot be read, so it becomes an error with its id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic_core import from_json

from switchboard.backends.errors import BAD_GATEWAY

EDGE_CHARS: Final = 4_096
"""How much of the beginning and the end of a text is searched for its id."""

SHOWN_CHARS: Final = 200
NOT_VALID: Final = "its answer is not valid"

_DECODER: Final = json.JSONDecoder(strict=False)
_WORD: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|$)|[{}\[\],:]|[^\s"{}\[\],:]+', re.DOTALL)
_LAST: Final = re.compile(r'[{,]\s*"id"\s*:\s*(-?\d+|"[^"\\]*")\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')


class Unreadable(ValueError):
    """No message is in it, or none whose id can be read; the text is the beginning of it."""


def read(raw: bytes | str) -> list[JSONRPCMessage]:
    """The messages in a line, or in the data of an event: one, unless several were put together.

    Raises:
        Unreadable: there is none.
    """
    try:
        return [jsonrpc_message_adapter.validate_json(raw, by_name=False)]
    except ValueError:
        text = raw if isinstance(raw, str) else raw.decode(errors="replace")
    found = list(_messages(text))
    if not found:
        raise Unreadable(" ".join(text[:SHOWN_CHARS].split()))
    return found


def refused(text: str, why: str) -> JSONRPCError | None:
    """The error for an answer that cannot be taken; `None` for what does not look like an answer.

    Args:
        text: all of it, or its beginning and its end.
    """
    members = _members(text[:EDGE_CHARS])
    if "method" in members:
        return None
    if isinstance(token := members.get("id"), str):
        return error(_scalar(token), why)
    if "id" not in members and (last := _LAST.search(text[-EDGE_CHARS:])):
        return error(_scalar(last[1]), why)
    return error(None, why) if members.keys() & {"result", "error"} else None


def error(number: RequestId | None, why: str) -> JSONRPCError:
    """An answer that says why there is none. Without a number it is for the only request that waits, if it is one."""
    return JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData(code=BAD_GATEWAY, message=why))


def _messages(text: str) -> Iterator[JSONRPCMessage]:
    at = text.find("{")
    while at >= 0:
        try:
            value, end = _DECODER.raw_decode(text, at)
            message = _message(_whole(value))
        except (ValueError, RecursionError) as problem:
            after = text.find('{"jsonrpc"', at + 1)
            message = refused(text[at:] if after < 0 else text[at:after], f"{NOT_VALID}: {problem}")
            end = len(text) if after < 0 else after
        if message is not None:
            yield message
        at = text.find("{", end)


def _message(value: Mapping[str, Any]) -> JSONRPCMessage | None:
    number, ours = _number(value.get("id")), value.get("jsonrpc") == "2.0"
    if isinstance(method := value.get("method"), str):
        given = value.get("params")
        params = given if isinstance(given, dict) else None  # what is missing, whoever takes it says
        if not ours or (number is None and value.get("id") is not None):
            return None
        if number is None:
            return JSONRPCNotification(jsonrpc="2.0", method=method, params=params)
        return JSONRPCRequest(jsonrpc="2.0", id=number, method=method, params=params)
    signs = [ours, number is not None, "result" in value or "error" in value]
    return _answer(value, number, ours=ours) if sum(signs) >= 2 else None  # of an answer; a line of a log has one


def _answer(value: Mapping[str, Any], number: RequestId | None, *, ours: bool) -> JSONRPCMessage:
    if not ours:
        return error(number, f'{NOT_VALID}: it has no "jsonrpc": "2.0"')
    failure, result = value.get("error"), value.get("result")
    if failure is not None:
        try:
            return JSONRPCError(jsonrpc="2.0", id=number, error=ErrorData.model_validate(failure))
        except ValueError:
            return error(number, f"{NOT_VALID}: its error has no code and message: {_shown(failure)}")
    if "result" not in value:
        return error(number, f"{NOT_VALID}: it has neither a result nor an error")
    if result is not None and not isinstance(result, dict) and result != []:
        return error(number, f"{NOT_VALID}: its result is not an object: {_shown(result)}")
    if number is None:
        return error(number, f"{NOT_VALID}: it has no id")
    return JSONRPCResponse(jsonrpc="2.0", id=number, result=result or {})


def _number(given: Any) -> RequestId | None:
    """An id; one that is a whole number, however it is written."""
    if isinstance(given, float) and given.is_integer():
        return int(given)
    return given if isinstance(given, int | str) and not isinstance(given, bool) else None


def _whole(value: Any) -> Any:
    """The same, with U+FFFD for each half of a surrogate pair, which no text has.

    Raises:
        ValueError: it is nested too deep.
    """
    text = json.dumps(value, ensure_ascii=False)
    return from_json(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))


def _members(text: str) -> dict[str, str | None]:
    """The members of the outermost object, as far as they can be told apart; what is not a scalar counts as `None`."""
    found: dict[str, str | None] = {}
    depth, key, before = 0, "", ""
    for match in _WORD.finditer(text):
        word = match[0]
        if word in "{[":
            depth += 1
        elif word in "}]":
            depth -= 1
        elif word == ":" and depth == 1:
            key = before.strip('"')
            found[key] = None
        elif depth == 1 and word != "," and key and before == ":":
            found[key] = word
        before = word
    return found


def _scalar(token: str) -> RequestId | None:
    try:
        return _number(json.loads(token))
    except ValueError:
        return None


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN_CHARS]
