"""Driver of MCP Inspector's command line: a process for each call. `python -m tools.lab.inspector_cli NODE URL`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.fleet.children import LOOPBACK, free_port
from tools.lab.calls import TOOLS, given, pauses
from tools.lab.inspector import ENVIRONMENT, PROGRAM, SERVER, company, configured

AGREES = "y\n"
"""To "Proceed with step-up authorization? [y/N]"."""


def main(node: str, url: str) -> None:
    """Call; ends at the first that fails."""
    callback = f"http://{LOOPBACK}:{free_port()}/oauth/callback"
    env = {**os.environ, **ENVIRONMENT, "MCP_AUTO_OPEN_ENABLED": "true"}
    where = (*_where(url), "--callback-url", callback)

    def run(*arguments: str) -> None:
        done = subprocess.run([node, PROGRAM, "--cli", *where, *arguments], env=env, input=AGREES, text=True)
        if done.returncode:
            sys.exit(done.returncode)

    for pause in (0, *pauses()):
        time.sleep(pause)
        run("--method", "tools/list")
        for tool in TOOLS:
            run("--method", "tools/call", "--tool-name", tool)


def _where(url: str) -> Sequence[str]:
    """The endpoint, by options; by the files that the page has, too, where options do not say enough."""
    if company():
        servers, installation = configured(Path.home(), url)
        return ("--config", str(servers), "--server", SERVER, "--client-config", str(installation))
    client_id, document = given()
    known = ("--client-id", client_id) if client_id else ()
    documented = ("--client-metadata-url", document) if document else ()
    return ("--server-url", url, "--transport", "http", *known, *documented)


if __name__ == "__main__":
    main(*sys.argv[1:])
