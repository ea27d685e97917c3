"""Other servers, broken in the same way for comparison; `python -m tools.chaos.other_servers NAME PORT` runs one.

| name | what |
|---|---|
| sdk | the Python SDK's own server as it comes: sessions in the memory of one process |
| sdk-stateless | the same with `stateless_http=True`: no session, no stream beside the calls' own |
| command | whatever a command of yours starts on `$PORT`, with `$REDIS_URL` and `$BASE_URI` to use |
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn

from tools.chaos.ledger_plugin import Ledger, ledger_server
from tools.fleet.children import LOOPBACK, Child, start

OTHER_SERVERS: Final[Mapping[str, Mapping[str, Any]]] = {"sdk": {}, "sdk-stateless": {"stateless_http": True}}


def launch_other(name: str, command: str, folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start a server of this kind on the port, and do not wait for it."""
    line = (
        shlex.split(command)
        if name == "command"
        else [sys.executable, "-m", "tools.chaos.other_servers", name, str(port)]
    )
    return start(f"worker-{port}", line, folder, {**os.environ, **env, "PORT": str(port)})


def main() -> None:
    """Serve the tools with the SDK alone."""
    name, port = sys.argv[1], int(sys.argv[2])
    server = ledger_server(Ledger(os.environ["CHAOS_LEDGER"], os.environ["CHAOS_WORKER"]))
    uvicorn.run(server.streamable_http_app(**OTHER_SERVERS[name]), host=LOOPBACK, port=port, log_level="warning")


if __name__ == "__main__":
    main()
