"""The suite's scenarios for authorization servers: it prints an address and waits for a browser; this is the browser.

It plays a public client only: as soon as a server advertises `none`, it sends no secret.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2

from tools.conformance.results import Outcome, read
from tools.conformance.runs import Run
from tools.conformance.suite import LIMIT_S, Suite
from tools.fleet.children import free_port, listens
from tools.fleet.person import Person

VERSIONS = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
SCENARIOS = 2
NAMED = "authorization server"
_WITHOUT_RESOURCE = "2025-03-26"
"""Clients of this version know no `resource`, and look for no metadata of the resource."""


@dataclass(frozen=True)
class Issuer:
    """The authorization server that is looked at, and one resource that it issues tokens for."""

    url: str
    resource: str


def runs() -> tuple[Run, ...]:
    """A row for each protocol version."""
    return tuple(
        Run(f"{NAMED}, {version}", SCENARIOS, ("--spec-version", version), ("--spec-version", version))
        for version in VERSIONS
    )


def run(suite: Suite, chosen: Run, names: Sequence[str], issuer: Issuer, out: Path) -> Outcome:
    """Run both scenarios of a version; what was found stays in `out`."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    started, port = time.monotonic(), free_port()
    where = ("--url", issuer.url, "--client-id", _registered(issuer.url), "-p", str(port), "-o", str(out))
    resource = () if _WITHOUT_RESOURCE in chosen.arguments else ("--resource", issuer.resource)
    command = suite.command("authorization", *where, *resource, *chosen.arguments)
    with (out / "suite.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        limit = threading.Timer(LIMIT_S, process.kill)
        limit.start()
        try:
            _be_the_browser(process, issuer.url, port, log.write)
        finally:
            limit.cancel()
            process.kill()
    return read(out, names, complaints=int(process.wait() != 0), seconds=time.monotonic() - started)


def _be_the_browser(process: subprocess.Popen[str], issuer: str, port: int, note: Callable[[str], object]) -> None:
    """Read what the suite says until it ends, and go where it sends a person."""
    for line in process.stdout or ():
        note(line)
        if line.startswith(f"{issuer.rstrip('/')}/authorize?"):
            while not listens(port):
                time.sleep(0.05)
            httpx2.get(asyncio.run(_back(line.strip())), trust_env=False)


async def _back(url: str) -> str:
    async with Person() as person:
        return await person.sign_in(url)


def _registered(issuer: str) -> str:
    """A public client of the issuer, which may come back on any loopback port."""
    metadata = {
        "client_name": "conformance",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "token_endpoint_auth_method": "none",
    }
    answer = httpx2.post(f"{issuer.rstrip('/')}/register", json=metadata, trust_env=False).raise_for_status()
    client_id: str = answer.json()["client_id"]
    return client_id
