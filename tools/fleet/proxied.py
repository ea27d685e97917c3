"""Have each proxy of deploy/ carry a stream before two workers, all at once, and tell what the client saw.

    python -m tools.fleet.proxied [--seconds 60]

The stream is a call of `longRunningOperation` with one step of progress a second. It is carried when every step came,
the answer after them, and none later than two seconds after the one before: not held back, not cut off.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from tools.fleet.children import LOOPBACK, free_port
from tools.fleet.proxies import PROXIES
from tools.fleet.workers import running_fleet

LONGEST_GAP_S: Final = 2.0
VERSION: Final = "2026-07-28"


def call(seconds: int) -> dict[str, Any]:
    """The request: so many steps, one a second."""
    meta = {
        "progressToken": "steps",
        "io.modelcontextprotocol/protocolVersion": VERSION,
        "io.modelcontextprotocol/clientInfo": {"name": "proxied", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"duration": seconds, "steps": seconds}
    params = {"name": "longRunningOperation", "arguments": arguments, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


def carry(port: int, headers: Mapping[str, str], seconds: int) -> str:
    """Call through the proxy at this port; what was wrong, or nothing."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    steps, gap, answered, last = 0, 0.0, False, time.monotonic()
    try:
        connection.request("POST", "/mcp", json.dumps(call(seconds)), dict(headers))
        answer = connection.getresponse()
        for line in answer:
            if not line.startswith(b"data:"):
                continue
            gap, last = max(gap, time.monotonic() - last), time.monotonic()
            message = json.loads(line.removeprefix(b"data:"))
            steps += message.get("method") == "notifications/progress"
            answered = answered or "result" in message
    except (OSError, http.client.HTTPException) as error:
        return f"after {steps} steps: {error!r}"
    finally:
        connection.close()
    if not answered or steps < seconds:
        return f"status {answer.status}, {steps} of {seconds} steps, {'an' if answered else 'no'} answer"
    return f"{gap:.1f} s between two steps" if gap > LONGEST_GAP_S else ""


def main() -> int:
    """Run it; 1 when a proxy did not carry the stream, or is not installed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        fleet = stack.enter_context(running_fleet(folder))
        front = int(fleet.base.rsplit(":", 1)[1])
        headers = {
            "Host": f"localhost:{front}",  # the name that the workers have, whichever proxy is asked
            "Authorization": f"Bearer {fleet.token()}",
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": VERSION,
            "Mcp-Method": "tools/call",
            "Mcp-Name": "longRunningOperation",
        }
        ports = {fleet.balancer.what: front}
        missing = [name for name, kind in PROXIES.items() if kind.found() is None]
        for name, kind in PROXIES.items():
            if name not in missing:
                ports[name] = free_port()
                stack.callback(kind.start(folder / name, ports[name], fleet.ports).stop)
        with ThreadPoolExecutor(len(ports)) as pool:
            faults = dict(zip(ports, pool.map(lambda port: carry(port, headers, seconds), ports.values()), strict=True))
    for name, fault in faults.items():
        print(f"{name:8} {fault or f'carried {seconds} steps in {seconds} s'}")
    for name in missing:
        print(f"{name:8} is not installed")
    return 1 if missing or any(faults.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
