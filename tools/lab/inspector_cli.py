"""Driver of MCP Inspector's command line: a process for each call. `python -m tools.lab.inspector_cli NODE URL`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.fleet.children import LOOPBACK, free_port
from tools.lab.calls import TOOLS, pauses, told
from tools.lab.inspector import ENVIRONMENT, PROGRAM, SERVER, configured

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
    known = told()
    if known.company:
        servers, installation = configured(Path.home(), url)
        return ("--config", str(servers), "--server", SERVER, "--client-config", str(installation))
    options = {
        "--client-id": known.client,
        "--client-secret": known.secret,
        "--client-metadata-url": known.document,
    }
    given = (part for option, value in options.items() if value for part in (option, value))
    return ("--server-url", url, "--transport", "http", *given)


if __name__ == "__main__":
    main(*sys.argv[1:])
