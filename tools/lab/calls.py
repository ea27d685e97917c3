"""What every driver has its client do. Stands alone: FastMCP's client runs in an environment of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

TOOLS: Final = ("read", "write", "ping_back")
SCOPE: Final = "read"
"""What a client asks for where it asks a company's provider, which challenges nobody."""


def pauses() -> Sequence[float]:
    """Seconds before each further round of calls."""
    return [float(each) for each in os.environ.get("LAB_PAUSES", "").split(",") if each]


@dataclass(frozen=True)
class Told:
    """What the tester tells a client; empty where there is nothing to tell.

    Args:
        client: its id.
        secret: beside it.
        issuer: whose client it is.
        machine: whether it acts for itself: its grant is client_credentials.
        document: the URL of its metadata document.
        company: the issuer of the company's identity provider.
        legacy: whether it is to speak a revision before 2026-07-28.
    """

    client: str
    secret: str
    issuer: str
    machine: bool
    document: str
    company: str
    legacy: bool


def told() -> Told:
    """What stands in the environment."""
    names = ("CLIENT_ID", "CLIENT_SECRET", "ISSUER", "GRANT", "CLIENT_DOCUMENT", "IDENTITY_PROVIDER")
    client, secret, issuer, grant, document, company = (os.environ.get(f"LAB_{name}", "") for name in names)
    legacy = os.environ.get("LAB_PROTOCOL_VERSION", "2026-07-28") < "2026-07-28"
    return Told(client, secret, issuer, grant == "client_credentials", document, company, legacy)


async def call_all(client: Any) -> None:
    """List the tools and call each, and again after each pause.

    Args:
        client: has `list_tools` and `call_tool`.

    Raises:
        RuntimeError: a tool answered with an error.
    """
    for pause in (0, *pauses()):
        await asyncio.sleep(pause)
        await client.list_tools()
        for tool in TOOLS:
            result = await client.call_tool(tool, {})
            if result.is_error:
                raise RuntimeError(f"{tool} answered {result.content}")
