"""Who called, and which worker answered: what one looks at behind a load balancer."""

from __future__ import annotations

from typing import Any

from mcp.server.mcpserver import Context
from pydantic import BaseModel, Field

from switchboard.everything.declared import PURE, Declared
from switchboard.identity import current
from switchboard.plugins import Host


class Identity(BaseModel):
    """The caller and the worker of one request."""

    subject: str = Field(description="Whom the access token speaks for.")
    issuer: str = Field(description="Who issued the token; empty when nobody had to sign in.")
    client: str = Field(description="The OAuth client that the token was issued to.")
    scopes: list[str] = Field(description="What the token allows, sorted.")
    session: str | None = Field(description="The session; null for a client that has none (2026-07-28).")
    protocolVersion: str | None = Field(description="The protocol version of this request.")  # noqa: N815
    state: str | None = Field(description="Where workers share what they know: memory:// or redis.")
    worker: str | None = Field(description="The worker that served this request.")


class WhoAmI:
    """The tool `whoami`. Knows its worker once the plugin runs; nothing else outlives a call."""

    def __init__(self) -> None:
        self._host: Host | None = None

    def run_on(self, host: Host) -> None:
        """Take note of the worker that this plugin runs on."""
        self._host = host

    async def whoami(self, ctx: Context[Any]) -> Identity:
        """Tell who is calling (subject, issuer, client, scopes), over which session and protocol version, and which
        worker answered.
        """
        caller = current()
        return Identity(
            subject=caller.principal.subject,
            issuer=caller.principal.issuer,
            client=caller.principal.client_id,
            scopes=sorted(caller.principal.scopes),
            session=caller.session_id,
            protocolVersion=ctx.protocol_version,
            state=self._host.state if self._host else None,
            worker=self._host.worker if self._host else None,
        )

    def declared(self) -> Declared:
        """The tool's row."""
        return Declared(self.whoami, "whoami", "Who am I?", PURE, structured=True)
