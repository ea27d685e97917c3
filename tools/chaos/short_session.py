"""A session that lives for three requests: opened, used and ended, most likely by three workers."""

from __future__ import annotations

import json
from typing import Any, Final

from tools.chaos.load import Setting
from tools.chaos.raw_http import Broken, sent

VERSION: Final = "2025-11-25"

REPEATABLE: Final = " to DELETE"
"""How a failure ends of what a balancer repeats when a worker breaks off (RFC 9110, section 9.2.2): done there already,
it is refused by the next one."""

_INFO: Final = {"name": "chaos", "version": "1"}
_PARAMS: Final = {"protocolVersion": VERSION, "capabilities": {"elicitation": {}}, "clientInfo": _INFO}
_HELLO: Final = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": _PARAMS}
_PING: Final = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


async def opened(setting: Setting, name: str = "") -> tuple[int, str]:
    """Send `initialize`; the status, and the session's id.

    Raises:
        Broken: as `tools.chaos.raw_http.sent`.
    """
    async with sent(setting.port, "POST", setting.headers(name), json.dumps(_HELLO).encode()) as answer:
        await answer.body()
        return answer.status, answer.headers.get("mcp-session-id", "")


async def run_short_session(setting: Setting, name: str) -> str:
    """Open a session, use it, and end it; `ok`, or what went wrong."""
    try:
        status, sid = await opened(setting, name)
        ending = (("DELETE", None),) if sid else ()  # a server without sessions gives none
        for method, message in (("POST", _PING), *ending):
            if status != 200:
                return f"HTTP {status}"
            status = await _status(setting, method, message, {**setting.headers(name), **session(sid)})
    except Broken as error:
        return str(error)
    return "ok" if status in (200, 204) else f"HTTP {status}{REPEATABLE if sid else ''}"


def session(sid: str) -> dict[str, str]:
    """The headers of a session's requests."""
    return {"MCP-Protocol-Version": VERSION, **({"Mcp-Session-Id": sid} if sid else {})}


async def _status(setting: Setting, method: str, message: Any, headers: dict[str, str]) -> int:
    body = json.dumps(message).encode() if message else b""
    async with sent(setting.port, method, headers, body) as answer:
        await answer.body()  # there are servers that end when a client hangs up before its answer has come
        return answer.status
