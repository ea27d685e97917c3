"""Driver of MCP Inspector's command line: a process for each call. `python -m tools.lab.inspector_cli NODE URL`."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tools.fleet.children import LOOPBACK, free_port
from tools.lab.calls import TOOLS, given, pauses
from tools.lab.drivers import MODULES

PROGRAM = MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"

AGREES = "y\n"
"""To "Proceed with step-up authorization? [y/N]"."""


def main(node: str, url: str) -> None:
    """Call; ends at the first that fails."""
    callback = f"http://{LOOPBACK}:{free_port()}/oauth/callback"
    env = {**os.environ, "MCP_INSPECTOR_SECRET_STORE": "file", "MCP_AUTO_OPEN_ENABLED": "true"}
    where: tuple[str, ...] = ("--server-url", url, "--transport", "http", "--callback-url", callback)
    client_id, document = given()
    where += ("--client-id", client_id) if client_id else ()
    where += ("--client-metadata-url", document) if document else ()

    def run(*arguments: str) -> None:
        done = subprocess.run([node, str(PROGRAM), "--cli", *where, *arguments], env=env, input=AGREES, text=True)
        if done.returncode:
            sys.exit(done.returncode)

    for pause in (0, *pauses()):
        time.sleep(pause)
        run("--method", "tools/list")
        for tool in TOOLS:
            run("--method", "tools/call", "--tool-name", tool)


if __name__ == "__main__":
    main(*sys.argv[1:])
