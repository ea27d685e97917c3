"""A server that says what it is told to, byte for byte: `scripted.py SCRIPT`, a JSON object.

`first`: what is written before anything is read. `say`: method → lines that answer it, with `$ID` for the request's id
and `$LONG` for 200 kB; `null` keeps it silent. `also`: method → lines that follow the answer. `heard`: a file for what
came, a line each. `latin1`: write in that encoding. `integers`: take integer ids only.
"""

from __future__ import annotations

import json
import sys
from typing import Any

script: dict[str, Any] = json.loads(sys.argv[1])
called = 0


def write(text: str) -> None:
    sys.stdout.buffer.write(text.encode("latin-1" if script.get("latin1") else "utf-8", "surrogatepass"))
    sys.stdout.buffer.flush()


def usual(message: dict[str, Any]) -> dict[str, Any]:
    global called
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        version, info = params["protocolVersion"], {"name": "scripted", "version": "1"}
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    if method == "tools/list":
        return {"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}
    if method == "tools/call":
        called += 1
        return {"content": [{"type": "text", "text": f"call {called}"}]}
    return {}


def answer(message: dict[str, Any]) -> None:
    number, said = json.dumps(message["id"]), script.get("say", {})
    if script.get("integers") and type(message["id"]) is not int:
        write('{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"id must be an integer"}}\n')
    elif message["method"] not in said:
        write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": usual(message)}) + "\n")
    else:
        for line in said[message["method"]] or ():
            write(line.replace("$ID", number).replace("$LONG", "x" * 200_000) + "\n")


write(script.get("first", ""))
for line in sys.stdin:
    message = json.loads(line)
    if "heard" in script:
        with open(script["heard"], "a") as file:
            file.write(line)
    if "method" in message and "id" in message:
        answer(message)
    for more in script.get("also", {}).get(message.get("method"), ()):
        write(more + "\n")
