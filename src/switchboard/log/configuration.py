"""Where log lines go, and what each of them has.

Everything goes through here, the standard library's loggers and uvicorn's included, and through one `LineWriter`, so
lines stay in order whoever logs them. Those that still wait when the process ends, forks or fails are written first.
Request id and principal ride on structlog's context variables, the worker's id on the process.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal

import structlog
from pydantic_core import to_json
from structlog import DropEvent
from structlog.contextvars import bind_contextvars
from structlog.typing import EventDict, Processor, WrappedLogger

from switchboard.log.line_writer import LineWriter
from switchboard.log.redaction import redact

Format = Literal["auto", "json", "console"]

QUIET: Mapping[str, int] = {
    "authlib": logging.INFO,  # tokens at DEBUG
    "httpx": logging.WARNING,  # whole URLs, queries included, at INFO
    "httpx2": logging.WARNING,
    "httpcore": logging.INFO,
    "httpcore2": logging.INFO,  # headers at DEBUG
    "botocore": logging.INFO,  # signed headers at DEBUG
    "urllib3": logging.INFO,  # whole URLs at DEBUG
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

_STACK = structlog.processors.StackInfoRenderer()

_worker: dict[str, str] = {}
_writers: dict[int, LineWriter] = {}
"""The one of each descriptor that this process logs to: there is never more than one."""

request_id: Final = bind_contextvars(request_id=...)["request_id"].var
"""The request that is being served, on each of its lines: one of structlog's context variables."""


def configure(level: str = "info", log_format: Format = "auto") -> None:
    """Route structlog and the standard library to standard error, once, before anything else is imported."""
    renderer = _renderer(log_format)
    threshold = logging.getLevelName(level.upper())
    writer = _writer(sys.stderr.fileno())
    structlog.configure(
        processors=[*_PROCESSORS, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Output(writer),
        cache_logger_on_first_use=True,
    )
    _route_standard_library(threshold, renderer, writer)


def flush() -> None:
    """Write the lines that wait for the end of this turn of the event loop: before the process ends at once."""
    for writer in _writers.values():
        writer.flush()


def put(logger: Any, method: str, event: EventDict) -> None:
    """Log an event whose parts are in a dictionary already, which is used up.

    What the methods of a logger do with keywords, which copy them three times: for the line that every request has.

    Args:
        logger: as `structlog.get_logger` gives it.
        method: which of its methods; it must be one that logs at this level.
        event: with the text as `event`.
    """
    bound = logger.bind()
    try:
        for process in bound._processors:
            event = process(bound._logger, method, event)
    except DropEvent:
        return
    getattr(bound._logger, method)(event)


def name_worker(worker: str) -> None:
    """Put this worker's id on every line from now on; call it after the process is forked."""
    _worker["worker"] = worker


def is_console(log_format: Format) -> bool:
    """Whether people read the log: asked for, or a terminal is there."""
    return log_format == "console" or (log_format == "auto" and sys.stderr.isatty())


def _complete(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add the worker, render stacks and exceptions where there are any, and blank what no line may have."""
    if "stack_info" in event:
        event = _STACK(logger, method, event)
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    event = redact(logger, method, event)
    event.update(_worker)
    return event


_PROCESSORS: Final[tuple[Processor, ...]] = (structlog.contextvars.merge_contextvars, _complete)


class _Clock:
    """The time of day as ISO 8601 in UTC, to the microsecond; the text of the current second is kept."""

    def __init__(self) -> None:
        self._second, self._text = -1, ""

    def now(self) -> str:
        second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        if second != self._second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second, self._text = second, text
        return f"{self._text}.{nanoseconds // 1000:06d}Z"


_now = _Clock().now


def _renderer(log_format: Format) -> list[Processor]:
    if is_console(log_format):
        return [_stamped, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)]
    return [_to_json]


def _stamped(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event["timestamp"], event["level"] = _now(), method
    return event


def _to_json(_logger: WrappedLogger, method: str, event: EventDict) -> bytes:
    line = {"timestamp": _now(), "level": method, "message": event.pop("event")}
    line.update(event)
    text = to_json(line, fallback=str)
    return text if text.isascii() else to_json(line, fallback=str, ensure_ascii=True)


class _Output:
    """What structlog hands finished lines to: a method for each level."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = writer.put
        self.error = self.critical = writer.put_now


class _Handler(logging.Handler):
    """The same for the standard library."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # as every handler does: whoever logs must not fail for it
            self.handleError(record)
            return
        (self._writer.put if record.levelno < logging.ERROR else self._writer.put_now)(line)

    def flush(self) -> None:
        self._writer.flush()


def _route_standard_library(level: int, renderer: list[Processor], writer: LineWriter) -> None:
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_PROCESSORS,
            *renderer,
            lambda _logger, _method, line: line.decode() if isinstance(line, bytes) else line,
        ],
    )
    handler = _Handler(writer)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    logging.captureWarnings(True)
    for name, floor in QUIET.items():
        logging.getLogger(name).setLevel(max(level, floor))


def _writer(descriptor: int) -> LineWriter:
    if not _writers:
        _flush_before_the_end()
    if descriptor not in _writers:
        log = structlog.get_logger(__name__)
        _writers[descriptor] = LineWriter(descriptor, lambda lines: log.warning("log.dropped", lines=lines))
    return _writers[descriptor]


def _flush_before_the_end() -> None:
    """Have waiting lines written before the process ends, before a fork, and before a traceback is printed."""
    atexit.register(flush)
    os.register_at_fork(before=flush, after_in_child=_forget)
    printed = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        flush()
        printed(kind, error, trace)

    sys.excepthook = excepthook


def _forget() -> None:
    for writer in _writers.values():
        writer.forget()
