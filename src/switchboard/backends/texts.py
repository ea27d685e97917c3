"""What a backend says in answers, questions and messages, made fit for people and for the programs that show it.

Prose (questions, titles, descriptions, messages, errors) loses what nobody sees. Text that may be data (results, log
data) keeps its invisible characters, for a file must not change by being read, and loses only what drives a terminal or
turns the direction of what is read. Structured content, resources and other `_meta` are data and stay as they are.
Links that run a program are left out; `_meta` keys of the envelope and of this gateway are not a backend's to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, URL_ELICITATION_REQUIRED, CallToolResult
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from switchboard.backends.connections.leniency import with_blocks
from switchboard.backends.envelope import RESERVED
from switchboard.backends.offer.sanitize import GATEWAY_META, described, runs_programs
from switchboard.backends.offer.schemas import outcome
from switchboard.common.visible_text import plain, text

LEFT_OUT: Final = {"type": "text", "text": "(A link was left out here: following it would run a program.)"}
DATA_DEPTH: Final = 64


def result(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A result as a client may get it.

    Raises:
        MCPError: it asks something that must not be asked.
    """
    fit = {**raw}
    if isinstance(fit.get("_meta"), dict):
        fit["_meta"] = _meta(fit["_meta"])
    if isinstance(fit.get("content"), list):
        fit["content"] = [_block(block) for block in fit["content"]]
    if isinstance(fit.get("messages"), list):
        fit["messages"] = with_blocks(fit["messages"], _block)
    if isinstance(fit.get("description"), str):
        fit["description"] = text(fit["description"])
    if isinstance(fit.get("inputRequests"), dict):
        fit["inputRequests"] = {
            key: {**one, "params": question(one.get("method"), one["params"])}
            if isinstance(one, dict) and isinstance(one.get("params"), dict)
            else one
            for key, one in fit["inputRequests"].items()
        }
    return fit


def result_of_texts(raw: Mapping[str, Any], version: str) -> CallToolResult:
    """What `result` and `leniency.parsed` make of the result of a tool for which `leniency.is_of_texts` holds."""
    fit = {**raw, "content": [{"type": "text", "text": plain(block["text"])} for block in raw["content"]]}
    if version in MODERN_PROTOCOL_VERSIONS:
        fit["resultType"] = "complete"
    return CallToolResult.model_validate(fit, by_name=False)


def question(method: Any, params: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a question as a client may be asked it.

    Raises:
        MCPError: it asks to open what is no web page.
    """
    fit = {**params}
    if method == "elicitation/create":
        if isinstance(fit.get("message"), str):
            fit["message"] = text(fit["message"])
        if isinstance(fit.get("requestedSchema"), dict):
            try:
                fit["requestedSchema"] = outcome(fit["requestedSchema"], text)
            except ValueError as error:
                raise MCPError(INVALID_PARAMS, f"requestedSchema cannot be asked: {error}") from error
        if "url" in fit and not _is_page(fit["url"]):
            raise MCPError(INVALID_PARAMS, "url must be that of a web page: http or https, without a password")
    if method == "sampling/createMessage":
        if isinstance(fit.get("systemPrompt"), str):
            fit["systemPrompt"] = plain(fit["systemPrompt"])
        if isinstance(fit.get("messages"), list):
            fit = {**fit, "messages": result({"messages": fit["messages"]})["messages"]}
    return fit


def notice(params: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a notification: of a log message above all."""
    fit = {**params}
    if isinstance(fit.get("_meta"), dict):
        fit["_meta"] = _meta(fit["_meta"])
    for key in ("logger", "message"):
        if isinstance(fit.get(key), str):
            fit[key] = text(fit[key])
    if "data" in fit:
        fit["data"] = _data(fit["data"], DATA_DEPTH)
    return fit


def error_data(code: int, data: Any) -> Any:
    """What came with an error: of pages to visit first, those that are some."""
    if code != URL_ELICITATION_REQUIRED or not isinstance(data, dict) or not isinstance(data.get("elicitations"), list):
        return data
    asked = [each for each in data["elicitations"] if isinstance(each, dict) and _is_page(each.get("url"))]
    return {**data, "elicitations": [question("elicitation/create", each) for each in asked]}


def _meta(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if not key.startswith((RESERVED, GATEWAY_META))}


def _block(block: Any) -> Any:
    if isinstance(block, list):  # several blocks of one message
        return [_block(each) for each in block]
    if not isinstance(block, dict):
        return block
    if isinstance(uri := block.get("uri"), str) and runs_programs(uri):
        return LEFT_OUT
    resource = block.get("resource")
    if isinstance(resource, dict) and isinstance(uri := resource.get("uri"), str) and runs_programs(uri):
        return LEFT_OUT
    if block.get("type") == "text" and isinstance(block.get("text"), str):
        return {**block, "text": plain(block["text"])}
    if block.get("type") == "resource_link":
        fit = described(block)
        return {**fit, "name": text(fit["name"])} if isinstance(fit.get("name"), str) else fit
    return block


def _data(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return plain(value)
    if depth and isinstance(value, list):
        return [_data(each, depth - 1) for each in value]
    if depth and isinstance(value, dict):
        return {key: _data(each, depth - 1) for key, each in value.items()}
    return value


def _is_page(url: Any) -> bool:
    if not isinstance(url, str) or text(url) != url or url.split() != [url]:
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.password is None
