"""What a client posted, parsed once: JSON-RPC messages, or the reason why they are none.

Pure functions over bytes and headers. Shapes are checked here, meanings by the SDK's kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from mcp_types import INVALID_REQUEST, PARSE_ERROR, PROTOCOL_VERSION_META_KEY

from switchboard.common import strict_json

LARGEST_BATCH: Final = 100

LONGEST_ID: Final = 256
"""Characters of an id, of a progress token, and of a method's name: ids are kept with what they name."""

LARGEST_ID: Final = 1 << 63
"""Integers up to here are ids and progress tokens; larger ones are none in the languages of clients."""

LONGEST_URI: Final = 2_048
"""Characters of a resource's URI that is subscribed to: a session keeps a thousand of them."""

LONGEST_READ_URI: Final = 8_192
"""Characters of any other URI of a resource: policy is held against all that it may be taken for."""

BEGUN: Final = "begun"
"""In the state of a scope: the record of the session that its headers name, being read already, for `Records.load`."""

JSON: Final = b"application/json"

LONGEST_ACCEPT: Final = 256
"""Bytes of the longest `Accept` header of which it is remembered what it takes."""

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed(Exception):
    """A body or header that cannot be served: the HTTP status, the JSON-RPC code, and what to do about it."""

    status: int
    code: int
    message: str


def parse(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        Malformed: not JSON, not UTF-8, nested too deep, or with a number that cannot be carried.
    """
    try:
        return strict_json.exactly(body)
    except ValueError as error:
        raise Malformed(400, PARSE_ERROR, f"Parse error: {error}") from None


def is_request(message: Message) -> bool:
    """Has a method and an id."""
    return "method" in message and "id" in message


def is_response(message: Message) -> bool:
    """Has no method: an answer to something we asked."""
    return "method" not in message


def is_enveloped(value: Any) -> bool:
    """Carries the per-request envelope of 2026-07-28, which only modern clients mint."""
    params = value.get("params") if isinstance(value, dict) else None
    meta = params.get("_meta") if isinstance(params, dict) else None
    return isinstance(meta, dict) and PROTOCOL_VERSION_META_KEY in meta


def checked(value: Any) -> Message:
    """One JSON-RPC 2.0 message.

    Raises:
        Malformed: the envelope is wrong; the message says where.
    """
    if not isinstance(value, dict):
        raise _invalid("a message must be a JSON object")
    if value.get("jsonrpc") != "2.0":
        raise _invalid('"jsonrpc" must be "2.0"')
    for broken, reason in _DEFECTS:
        if broken(value):
            raise _invalid(reason)
    bounded(value)
    return value


def checked_batch(values: list[Any]) -> list[Message]:
    """The messages of a JSON-RPC batch (2025-03-26 alone has them).

    Raises:
        Malformed: empty, too long, an `initialize` inside, the same id twice, or a message is wrong.
    """
    if not values:
        raise _invalid("a batch must not be empty")
    if len(values) > LARGEST_BATCH:
        raise _invalid(f"a batch may hold {LARGEST_BATCH} messages at most")
    messages = [checked(value) for value in values]
    if any(message.get("method") == "initialize" for message in messages):
        raise _invalid("initialize must not be part of a batch")
    ids = [message["id"] for message in messages if is_request(message)]
    if len(set(ids)) != len(ids):
        raise _invalid("two requests of a batch have the same id")
    return messages


def _invalid(reason: str) -> Malformed:
    return Malformed(400, INVALID_REQUEST, f"Invalid request: {reason}")


def bounded(value: Any) -> None:
    """Refuse a message whose ids or URIs are longer than any client's; other shapes are left to whoever serves it.

    Raises:
        Malformed: naming what is too long.
    """
    if type(value) is not dict or _is_ordinary(value):
        return
    for broken, reason in _TOO_LONG:
        if broken(value):
            raise _invalid(reason)


def _is_ordinary(message: Message) -> bool:
    """Whether nothing in it could be too long: most messages have a method and an id, and only name a tool."""
    method, number, params = message.get("method"), message.get("id"), message.get("params")
    if type(method) is not str or len(method) > LONGEST_ID:
        return False
    if type(number) is int:
        if not -LARGEST_ID <= number < LARGEST_ID:
            return False
    elif type(number) is not str or len(number) > LONGEST_ID:
        return False
    if type(params) is not dict:
        return True
    if not _BOUNDED.isdisjoint(params):
        return False
    meta = params.get("_meta")
    return type(meta) is not dict or "progressToken" not in meta or not _long(meta["progressToken"])


def _bad_method(message: Message) -> bool:
    return "method" in message and not isinstance(message["method"], str)


def _bad_id(message: Message) -> bool:
    if "id" not in message:
        return False
    return isinstance(message["id"], bool) or not isinstance(message["id"], str | int)


def _bad_params(message: Message) -> bool:
    return "params" in message and not isinstance(message["params"], dict)


def _bad_response(message: Message) -> bool:
    if "method" in message:
        return False
    if "id" not in message or ("result" in message) == ("error" in message):
        return True
    return not (isinstance(message["result"], dict) if "result" in message else _is_error(message["error"]))


def _is_error(error: Any) -> bool:
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    return isinstance(error.get("code"), int) and not isinstance(error["code"], bool)


def _long(value: Any, most: int = LONGEST_ID) -> bool:
    if isinstance(value, str):
        return len(value) > most
    return isinstance(value, int) and not -LARGEST_ID <= value < LARGEST_ID


def _param(message: Message, *path: str) -> Any:
    found: Any = message.get("params")
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


_BOUNDED: Final = frozenset({"requestId", "taskId", "uri", "ref", "notifications"})
"""Members of parameters that hold something that has a bound, besides `_meta`."""

_SUBSCRIBING: Final = ("resources/subscribe", "resources/unsubscribe")

_AN_ID: Final = f"a string of {LONGEST_ID} characters or an integer of 64 bits at most"

_TOO_LONG: Final[tuple[tuple[Callable[[Message], bool], str], ...]] = (
    (lambda message: _long(message.get("method")), f'"method" has {LONGEST_ID} characters at most'),
    (lambda message: _long(message.get("id")), f'"id" is {_AN_ID}'),
    (lambda message: _long(_param(message, "_meta", "progressToken")), f'"progressToken" is {_AN_ID}'),
    (lambda message: _long(_param(message, "requestId")), f'"requestId" is {_AN_ID}'),
    (lambda message: _long(_param(message, "taskId")), f'"taskId" has {LONGEST_ID} characters at most'),
    (
        lambda message: any(_long(_param(message, *path), LONGEST_READ_URI) for path in (("uri",), ("ref", "uri"))),
        f"the URI of a resource has {LONGEST_READ_URI} characters at most",
    ),
    (
        lambda message: message.get("method") in _SUBSCRIBING and _long(_param(message, "uri"), LONGEST_URI),
        f"the URI of a subscription has {LONGEST_URI} characters at most",
    ),
    (
        lambda message: (
            any(_long(uri, LONGEST_URI) for uri in _listed(message, "resourceSubscriptions"))
            or any(_long(task) for task in _listed(message, "taskIds"))
        ),
        f"a listen stream names resources by {LONGEST_URI} characters at most, and tasks by {LONGEST_ID}",
    ),
)


def _listed(message: Message, name: str) -> list[Any]:
    if message.get("method") != "subscriptions/listen":
        return []
    found = _param(message, "notifications", name)
    return found if isinstance(found, list) else []


_DEFECTS: Final = (
    (_bad_method, '"method" must be a string'),
    (_bad_id, '"id" must be a string or an integer'),
    (_bad_params, '"params" must be an object'),
    (_bad_response, 'a message without "method" must be a response: "id" and either "result" or "error"'),
)


# -- headers -----------------------------------------------------------------------------------------------------------

SINGLE: Final = frozenset(
    {b"mcp-session-id", b"mcp-protocol-version", b"last-event-id", b"content-type", b"mcp-method", b"mcp-name"}
)
"""Headers that must not come twice: first-copy and last-copy readers would disagree."""


Headers = dict[bytes, bytes]
"""By lower-case name."""


def headers(raw: Collection[tuple[bytes, bytes]]) -> Headers:
    """Headers by lower-case name; several `Accept` lines are one list (RFC 9110 §5.3).

    Raises:
        Malformed: one of SINGLE came twice.
    """
    found = dict(raw)
    if len(found) == len(raw):
        return found
    found.clear()
    for name, value in raw:
        if name in found and name in SINGLE:
            raise _invalid(f"the {name.decode('latin-1')} header came more than once")
        found[name] = b"%b, %b" % (found[name], value) if name in found else value
    return found


def text(found: Headers, name: bytes) -> str:
    """The value of a header; empty if there is none."""
    return found.get(name, b"").decode("latin-1")


def is_json(found: Headers) -> bool:
    """Whether the body is declared as JSON."""
    declared = found.get(b"content-type", b"")
    return declared == JSON or declared.decode("latin-1").partition(";")[0].strip().lower() == JSON.decode()


def accepts(found: Headers, *wanted: str) -> bool:
    """Whether the `Accept` header takes all of these media types."""
    accept = found.get(b"accept", b"")
    return (_kept_acceptance if len(accept) <= LONGEST_ACCEPT else _acceptance)(accept, wanted)


def _acceptance(accept: bytes, wanted: tuple[str, ...]) -> bool:
    said = accept.decode("latin-1")
    return all(_accepts(said, each) for each in wanted)


_kept_acceptance: Final = lru_cache(maxsize=256)(_acceptance)
"""Clients of the same kind send the same header."""


def _accepts(accept: str, wanted: str) -> bool:
    """RFC 9110 §12.5.1; an absent header takes anything."""
    if not accept:
        return True
    group = wanted.partition("/")[0] + "/*"
    for item in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        if kind in (wanted, group, "*/*") and not any(_is_zero(parameter) for parameter in parameters):
            return True
    return False


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip() in {"0", "0.0", "0.00", "0.000"}
