"""Structured logs: one line an event, JSON for machines or plain for a terminal, on standard error.

`configure` must run before a plugin is imported: the SDK's `MCPServer` gives the root logger a handler of its own when
there is none.

May import: common.visible_text.
Never imports: redis, mcp.
"""

from switchboard.log.configuration import configure, flush, is_console, name_worker, put, request_id
from switchboard.log.redaction import redact, redact_text

__all__ = ["configure", "flush", "is_console", "name_worker", "put", "redact", "redact_text", "request_id"]
