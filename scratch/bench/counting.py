"""A server on stdio that counts, for measurements: `counting.py`, or `counting.py hang`, which never answers.

It needs nothing but Python, so that it starts at once. It answers `count` with its process id, the number of
calls it has had, and the text it was given; whoever reads somebody else's text, or a number too low, has found a fault.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

TOOL = {
    "name": "count",
    "description": "Counts, and says the text again.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
}


def count() -> None:
    """One process is one memory."""
    calls = 0
    for line in sys.stdin:
        message = json.loads(line)
        results: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "counting", "version": "1"},
            },
            "tools/list": {"tools": [TOOL]},
            "ping": {},
        }
        if message.get("method") == "tools/call":
            calls += 1
            text = f"{os.getpid()}:{calls}:{message['params'].get('arguments', {}).get('text', '')}"
            results["tools/call"] = {"content": [{"type": "text", "text": text}]}
        if "id" in message:
            result = results.get(message["method"])
            answer = {"result": result} if result is not None else {"error": {"code": -32601, "message": "no"}}
            print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}), flush=True)


def main() -> None:
    """Whatever was asked for."""
    if sys.argv[1:2] == ["hang"]:
        sys.stdin.read()
    else:
        count()


if __name__ == "__main__":
    main()
