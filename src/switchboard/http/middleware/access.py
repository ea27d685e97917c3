"""What a request was about, for its line in the log: method and tool, and whose tool that is. Never arguments.

Everything here was written by clients, so a word is what is seen of it, cut, and in quotes where it could be taken for
the words around it. Of an address nothing is kept that may be a secret: no query, no fragment, no user.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from starlette.types import Scope

from switchboard.common import visible_text
from switchboard.http.middleware.tracing import HttpSpan

ToolOf = Callable[[Mapping[str, Any]], tuple[str, str | None]]
"""The params of a `tools/call` → the tool that is really called, and whose it is, if anybody has it."""

_LONGEST: Final = 128
_SHOWN: Final = 3
"""Messages of a batch that are named."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./:@+#~%$*{}|-]+")
_HIDDEN: Final = re.compile(r"[?#].*|(?<=//)[^/@]*@", re.DOTALL)
_TARGETS: Final[Mapping[str, tuple[str, str]]] = {
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
    "resources/unsubscribe": ("resource", "uri"),
}


_TELLING: Final = frozenset({"tools/call", *_TARGETS})
"""Methods whose parameters are about something that is named."""


def as_named(params: Mapping[str, Any]) -> tuple[str, str | None]:
    """Where nobody knows the tools: what the call says."""
    name = params.get("name")
    return (name if isinstance(name, str) else "", None)


def note(scope: Scope, value: Any) -> None:
    """Note what was posted, a message or a batch, for the log line of this request."""
    about: About | None = scope.get("state", {}).get("about")
    if about is not None:
        about.note(value)


def note_call(scope: Scope, tool: str, backend: str) -> None:
    """Note that a tool of the catalog is called, for the log line of this request."""
    about: About | None = scope.get("state", {}).get("about")
    if about is not None:
        about.called(tool, backend)


def note_era(scope: Scope, era: str) -> None:
    """Note which era a request belongs to, for the metrics."""
    about: About | None = scope.get("state", {}).get("about")
    if about is not None:
        about.era = era


def noted(scope: Scope, value: Any) -> About:
    """What one message of many on the same connection is about."""
    here: About | None = scope.get("state", {}).get("about")
    about = About(here.tool_of if here is not None else as_named)
    about.note(value)
    return about


class About:
    """What one request is about; empty until its body was read. Its fields are only read."""

    __slots__ = ("era", "fields", "span", "text", "tool_of")

    def __init__(self, tool_of: ToolOf) -> None:
        self.tool_of = tool_of
        self.text = ""
        self.era = ""
        """`modern` or `handshake`, once that is known."""
        self.fields: Mapping[str, Any] = {}
        self.span: HttpSpan | None = None
        """While spans are collected."""

    def called(self, tool: str, backend: str) -> None:
        """A call of a tool that the catalog has."""
        self.text, self.fields = (_kept_call if len(tool) + len(backend) <= _LONGEST else _call)(tool, backend)

    def note(self, value: Any) -> None:
        """A message or a batch."""
        if not isinstance(value, list):
            self.fields = self._described(value)
            self.text = self.fields["rpc"] if len(self.fields) == 1 else _said(self.fields)
            return
        shown = [_said(self._described(each)) for each in value[:_SHOWN]]
        more = ["…"] if len(value) > _SHOWN else []
        self.fields = {"batch": len(value)}
        self.text = f"batch of {len(value)}: {', '.join(shown + more)}"

    def _described(self, message: Any) -> Mapping[str, Any]:
        method = message.get("method") if isinstance(message, dict) else None
        if not isinstance(method, str):
            return {"rpc": "response" if method is None and isinstance(message, dict) else "?"}
        if method not in _TELLING:
            return {"rpc": word(method)}
        params = message.get("params")
        params = params if isinstance(params, dict) else {}
        if method == "tools/call":
            tool, backend = self.tool_of(params)
            return _call_fields(tool, backend or "")
        kind, member = _TARGETS.get(method, ("", ""))
        target = params.get(member)
        named = {kind: word(_HIDDEN.sub("", target))} if isinstance(target, str) else {}
        return {"rpc": word(method)} | named


def _call_fields(tool: str, backend: str) -> dict[str, Any]:
    return {"rpc": "tools/call", "tool": word(tool)} | ({"backend": word(backend)} if backend else {})


def _call(tool: str, backend: str) -> tuple[str, Mapping[str, Any]]:
    fields = _call_fields(tool, backend)
    return _said(fields), fields


_kept_call: Final = lru_cache(maxsize=4096)(_call)


def _said(fields: Mapping[str, Any]) -> str:
    return " ".join(str(value) for key, value in fields.items() if key != "backend")


def word(text: str) -> str:
    """One word of a log line."""
    return _kept(text) if len(text) <= _LONGEST else _word(text)


def _word(text: str) -> str:
    seen = visible_text.text(text[: 2 * _LONGEST])
    cut = seen if len(seen) <= _LONGEST else f"{seen[:_LONGEST]}…"
    return cut if _PLAIN.fullmatch(cut) else json.dumps(cut, ensure_ascii=False)


_kept: Final = lru_cache(maxsize=4096)(_word)
"""The same few tools, paths and people are in most lines."""
