"""Structured logs: one line an event, JSON for machines or plain for a terminal, on standard error.

A leaf. `configure` must run before a plugin is imported: the SDK's `MCPServer` gives the root logger a handler of its
own when there is none. Everything goes through here, the standard library's loggers and uvicorn's included. Request id
and principal ride on structlog's context variables, the worker's id on the process. `redact` is the last line of
defence, not a licence: no code here logs a token, a code, a secret, a verifier or a cookie. What others wrote reaches
no terminal as it is: every value is one line of characters that are seen (`visible.escaped`).
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from switchboard.common.visible_text import escaped

Format = Literal["auto", "json", "console"]

_QUIET: Mapping[str, int] = {
    "authlib": logging.INFO,  # tokens at DEBUG
    "httpx": logging.WARNING,  # whole URLs, queries included, at INFO
    "httpx2": logging.WARNING,
    "httpcore": logging.INFO,
    "httpcore2": logging.INFO,  # headers at DEBUG
    "mcp": logging.INFO,  # message bodies at DEBUG
    "python_multipart": logging.INFO,  # form fields at DEBUG
    "websockets": logging.INFO,  # headers at DEBUG
    "sse_starlette": logging.INFO,  # every frame at DEBUG
    "asyncio": logging.INFO,
    "mcp.server.streamable_http_manager": logging.WARNING,  # its own start and stop: ours say it
    "uvicorn.error": logging.WARNING,  # likewise
    "uvicorn.access": logging.CRITICAL,  # whole URLs; our own access event replaces it
}
"""Loggers that say too much below this level, whatever LOG_LEVEL is."""

_HIDDEN = "[redacted]"
_SHORTEST_SECRET = 6
_LONGEST_VALUE = 2000
_LOOKED_AT = 2 * _LONGEST_VALUE
"""Characters of a value that are searched for secrets: more than are shown, whose ends may be cut."""

_WHOLE = frozenset({"exception", "stack"})
"""What is never cut: it is ours, and of use only as a whole."""

_HARMLESS = frozenset({bool, int, float, type(None)})
_SECRET_KEYS = frozenset(
    {"authorization", "cookie", "set-cookie", "set_cookie", "password", "secret", "secret_key", "client_secret"}
    | {"token", "access_token", "refresh_token", "id_token", "subject_token", "request_state"}
    | {"code", "code_verifier", "assertion", "client_assertion"}
)
_ENCODE = json.JSONEncoder(default=str).encode
_SECRET_TEXT = re.compile(
    r"""(?ix)
    (?P<keep> \b(?:bearer|basic)\s+ )  [A-Za-z0-9\-._~+/]{6,}=*
    | (?P<pair> (?<![a-z0-9])
        (?! code ["']? \s* [=:] \s* ["']?  # an error's code is no secret: 'MODULE_NOT_FOUND', ENOENT, -32601
            (?-i: E[A-Z0-9]{3,} | [A-Z]+ (?: _[A-Z0-9]+ )+ | -\d+ ) (?! [A-Za-z0-9_\-.~+/] ) )
        (?: (?:access|refresh|id|subject|actor|registration_access)_token | code | code_verifier | client_secret
          | client_assertion | assertion | password | secret | secret_key | set-cookie | cookie )
        ["']? \s* [=:] \s* ["']? )  [^\s"'&;,)}]{6,}
    | (?P<user> ://[^\s/:@]* : )  [^\s/@]+ (?=@)
    """
)

_worker: dict[str, str] = {}


def configure(level: str = "info", log_format: Format = "auto") -> None:
    """Route structlog and the standard library to standard error, once, before anything else is imported."""
    shared = _processors()
    renderer = _renderer(log_format)
    threshold = logging.getLevelName(level.upper())
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, *shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    _route_standard_library(threshold, shared, renderer)


def name_worker(worker: str) -> None:
    """Put this worker's id on every line from now on; call it after the process is forked."""
    _worker["worker"] = worker


def is_console(log_format: Format) -> bool:
    """Whether people read the log: asked for, or a terminal is there."""
    return log_format == "console" or (log_format == "auto" and sys.stderr.isatty())


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank what looks like a credential, by its key or by its shape, in every value; cut what is too long to read, and
    write out what is not seen."""
    for key, value in event.items():
        if type(value) in _HARMLESS:
            continue
        if key in _SECRET_KEYS or key.lower() in _SECRET_KEYS:
            event[key] = _HIDDEN
        elif key in _WHOLE:
            event[key] = "\n".join(map(escaped, redact_text(str(value)).split("\n")))
        else:
            event[key] = _shown(value) if type(value) is str else _redacted(value)
    return event


def redact_text(text: str) -> str:
    """`text` with bearer tokens, credentials in URLs and `code=…`-like pairs blanked."""
    return _SECRET_TEXT.sub(_blank, text) if _suspicious(text) else text


def _suspicious(text: str) -> bool:
    """Whether a secret could be in `text`: ten times cheaper than the expression, and on the path of every request."""
    return len(text) > _SHORTEST_SECRET and ("=" in text or ":" in text or "earer" in text or "asic " in text)


def _blank(found: re.Match[str]) -> str:
    return (found["keep"] or found["pair"] or found["user"] or "") + _HIDDEN


def _shown(text: str) -> str:
    """Clients choose paths, names, ids and reasons: none shall fill the disk, or take the worker's time."""
    seen = redact_text(text[:_LOOKED_AT])
    if len(text) > _LOOKED_AT or len(seen) > _LONGEST_VALUE:
        seen = f"{seen[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return escaped(seen)


def _redacted(value: object) -> object:
    if isinstance(value, Mapping):
        pairs = ((str(k), v) for k, v in value.items())
        return {_shown(k): _HIDDEN if k.lower() in _SECRET_KEYS else _redacted(v) for k, v in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    if type(value) in _HARMLESS:
        return value
    return _shown(str(value))


def _add_worker(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.update(_worker)
    return event


def _processors() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _add_worker,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _renderer(log_format: Format) -> list[Processor]:
    if is_console(log_format):
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)]
    return [structlog.processors.JSONRenderer(serializer=_to_json)]


def _route_standard_library(level: int, shared: list[Processor], renderer: list[Processor]) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.add_logger_name],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *shared, *renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name, floor in _QUIET.items():
        logging.getLogger(name).setLevel(max(level, floor))


def _to_json(event: EventDict, **_options: object) -> str:
    first = {"timestamp": event.pop("timestamp"), "level": event.pop("level"), "message": event.pop("event")}
    return _ENCODE(first | dict(event))
