"""Answers read leniently: what a reader can do without, or can tell from the rest, costs no answer."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from mcp_types import CallToolResult, Result
from mcp_types.methods import parse_server_result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

KNOWN: Final = frozenset({"text", "image", "audio", "resource", "resource_link"})
"""Types of content blocks."""

_OF_TEXTS: Final = frozenset({"content", "isError", "resultType", "structuredContent"})

UNSTATED: Final = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
"""What a modern result must state, as it is when a server does not."""


def parsed(method: str, version: str, raw: Mapping[str, Any]) -> Result:
    """A backend's answer as a model.

    Raises:
        ValidationError: it cannot be understood.
        KeyError: this version has no such method.
    """
    fit = {**(UNSTATED if version in MODERN_PROTOCOL_VERSIONS else {}), **raw}
    if method == "prompts/get" and isinstance(fit.get("messages"), list):
        fit["messages"] = with_blocks(fit["messages"], _block)
    if method != "tools/call":
        return parse_server_result(method, version, fit)
    structured = fit.get("structuredContent")
    if isinstance(fit.get("content"), list):
        fit["content"] = [_block(block) for block in fit["content"]]
    elif fit.get("content") is None and structured is not None:
        fit["content"] = [{"type": "text", "text": json.dumps(structured, ensure_ascii=False)}]
    if isinstance(structured, dict):
        return parse_server_result(method, version, fit)
    # Before 2026-07-28 it is an object. What a client of its version may get of it is decided where it goes out.
    fit.pop("structuredContent", None)
    result = parse_server_result(method, version, fit)
    if structured is None or not isinstance(result, CallToolResult):
        return result
    return result.model_copy(update={"structured_content": structured})


def is_of_texts(raw: Mapping[str, Any]) -> bool:
    """Whether the result of a tool is texts, and an object for programs, as most are: nothing to be lenient about.

    `with_objects` and `parsed` leave such a result as it is.
    """
    if not _OF_TEXTS.issuperset(raw) or type(raw.get("content")) is not list:
        return False
    if type(raw.get("structuredContent", {})) is not dict:
        return False
    if type(raw.get("isError", False)) is not bool or raw.get("resultType", "complete") != "complete":
        return False
    return all(
        type(block) is dict and len(block) == 2 and block.get("type") == "text" and type(block.get("text")) is str
        for block in raw["content"]
    )


def introduced(result: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to `initialize` of a server that says too little of itself, or says yes and no of its capabilities."""
    info, able = result.get("serverInfo"), result.get("capabilities")
    named = {key: value for key, value in info.items() if value is not None} if isinstance(info, Mapping) else {}
    for key in ("name", "version"):
        named[key] = str(named.get(key, "unknown"))
    if not isinstance(able, Mapping):
        able = {"tools": {}}  # what nearly every server is for; one that has none says so when it is asked for them
    stated = {key: {} if value is True else value for key, value in able.items() if value not in (False, None)}
    return {**result, "serverInfo": named, "capabilities": stated}


def with_blocks(messages: list[Any], changed: Callable[[Any], Any]) -> list[Any]:
    """The messages of a prompt or of a question, with each content block as `changed` gives it."""
    return [{**each, "content": changed(each.get("content"))} if isinstance(each, dict) else each for each in messages]


def is_json(value: Any) -> bool:
    """Whether an answer can be written again: NaN and numbers beyond a double would reach clients as null."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_json, value.values()))
    return not isinstance(value, list) or all(map(is_json, value))


def _block(block: Any) -> Any:
    if not isinstance(block, dict):
        return block
    kind = block.get("type")
    if isinstance(kind, str) and kind not in KNOWN:
        return {"type": "text", "text": json.dumps(block, ensure_ascii=False)}
    if kind == "resource_link" and block.get("name") is None and isinstance(block.get("uri"), str):
        return {**block, "name": block["uri"]}
    return block
