"""A server without an SDK, so that it starts at once and can break every rule: `raw.py MODE [ARGUMENT]`."""
# ruff: noqa: T201

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

MODE = sys.argv[1] if len(sys.argv) > 1 else "plain"
ARGUMENT = sys.argv[2] if len(sys.argv) > 2 else ""
calls = 0
able: dict[str, Any] = {}
"""What the client can be asked."""


def say(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


TOOLS = [
    tool("echo"),
    tool("bump"),
    tool("die"),
    tool("silent"),
    tool("die-once", annotations={"readOnlyHint": True}),
    tool("misbehave"),
]


def tools(params: dict[str, Any]) -> dict[str, Any]:
    if MODE == "many":
        start = int(params.get("cursor", 0))
        page = {"tools": [tool(f"t{n}") for n in range(start, start + 500)]}
        return page if start >= 4500 else {**page, "nextCursor": str(start + 500)}
    if MODE == "endless":
        start = int(params.get("cursor", 0))
        return {"tools": [tool(f"t{start}")], "nextCursor": str(start + 1)}
    if MODE == "circle":
        return {"tools": TOOLS, "nextCursor": "again"}
    if MODE == "duplicate":
        return {"tools": [tool("echo", description="first"), tool("echo", description="second")]}
    if MODE == "definitions":
        with open(ARGUMENT) as file:
            return {"tools": json.load(file)}
    if MODE == "nonsense":
        return {"tools": "none"}
    if MODE == "choosy":
        return {"tools": [tool(f"ask-for-{name}") for name in sorted(able)]}
    return {"tools": TOOLS}


def call(id: Any, params: dict[str, Any]) -> None:
    global calls
    calls += 1
    name = params["name"]
    said = {
        "content": [{"type": "text", "text": f"{os.getpid()}:{calls}:{params.get('arguments', {}).get('text', '')}"}]
    }
    if name == "die" or (name == "die-once" and not os.path.exists(ARGUMENT)):
        if ARGUMENT:
            with open(ARGUMENT, "a") as file:
                print("died", file=file)
        print("I am leaving", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "silent":
        time.sleep(300 if MODE == "unreading" else 0)
        return
    if name == "misbehave":
        report(params.get("_meta", {}).get("progressToken") if MODE == "busy" else None)
        misbehave(id)
    say({"id": id, "result": said})


def misbehave(id: Any) -> None:
    if MODE == "garbage":
        print('not json\n{"half":\n[1,2]\n\x00\xff', flush=True)
    if MODE == "flood":
        for _ in range(2000):
            print("x" * 5000, file=sys.stderr)
    if MODE == "wrong-id":
        say({"id": "somebody-else", "result": {"content": []}})
        say({"id": None, "error": {"code": 1, "message": "?"}})
    if MODE == "twice":
        say({"id": id, "result": {"content": [{"type": "text", "text": "first"}]}})
    if MODE == "huge":
        block = "x" * 1_000_000
        sys.stdout.write(f'{{"jsonrpc":"2.0","id":{json.dumps(id)},"result":{{"content":[{{"type":"text","text":"')
        for _ in range(100):
            sys.stdout.write(block)
        print('"}]}}', flush=True)
    if MODE == "shapeless":
        say({"id": id, "result": {"content": "none"}})
    if MODE == "chatter":
        chatter()


def report(token: Any) -> None:
    for number in range(3_000 if token is not None else 0):
        steps = {"progressToken": token, "progress": number, "total": 2_999}
        say({"method": "notifications/progress", "params": steps})


def chatter() -> None:
    for number in range(10_000):
        say({"method": "notifications/message", "params": {"level": "info", "data": f"{number} " + "x" * 2000}})


def begin() -> None:
    if MODE == "once":
        # The first to be started serves; whoever comes later finds that it cannot.
        try:
            open(ARGUMENT, "x").close()
        except FileExistsError:
            sys.exit(9)
    if MODE == "tally":
        with open(ARGUMENT, "a") as file:
            print(os.getpid(), file=file)
    if MODE == "exit":
        print("no such database", file=sys.stderr)
        sys.exit(7)
    if MODE == "grandchild":
        # It ignores SIGTERM, keeps standard output open, and its number is written down.
        code = "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
        child = subprocess.Popen([sys.executable, "-c", code])
        with open(ARGUMENT, "w") as file:
            file.write(f"{os.getpid()} {child.pid}")


def main() -> None:
    begin()
    for line in sys.stdin:
        message = json.loads(line)
        method, id = message.get("method"), message.get("id")
        if MODE == "mute":
            continue
        if method == "initialize":
            able.update(message["params"]["capabilities"])
            version = {"old": "2020-01-01", "new": "2030-01-01"}.get(MODE, message["params"]["protocolVersion"])
            info = {"name": "raw", "version": "1"}
            say({"id": id, "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}})
        elif method == "tools/list":
            say({"id": id, "result": tools(message.get("params", {}))})
        elif method == "tools/call":
            call(id, message["params"])
        elif id is not None:
            say({"id": id, "error": {"code": -32601, "message": "Method not found"}})
    if MODE == "clinging":
        time.sleep(300)


if __name__ == "__main__":
    main()
