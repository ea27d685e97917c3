"""A plugin that signs its own tokens: a person enters the key that a service gave them, and calls carry a short JWT."""

import json
import time

import httpx2
from joserfc import jwt
from joserfc.jwk import ECKey
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from switchboard.plugins import AuthRequirement, CredentialField, Plugin, PluginContext

LIFE_S = 60


class Settings(BaseModel, extra="forbid"):
    """What `plugins.reports.config` says."""

    url: str
    """Where the service is; tokens are for it alone."""


def serve(context: PluginContext[Settings]) -> MCPServer:
    """Make the server."""
    server = MCPServer("reports")

    async def token() -> str:
        key = ECKey.import_key(json.loads(await context.need_credential("private_key")))
        now = int(time.time())
        account = await context.need_credential("account")
        claims = {"iss": account, "aud": context.config.url, "iat": now, "exp": now + LIFE_S}
        return jwt.encode({"alg": "ES256"}, claims, key)

    @server.tool()
    async def latest() -> str:
        """Fetch the latest report."""
        headers = {"Authorization": f"Bearer {await token()}"}
        async with httpx2.AsyncClient(timeout=10) as http:
            answer = await http.get(f"{context.config.url}/reports/latest", headers=headers)
        answer.raise_for_status()
        return str(answer.json()["title"])

    return server


plugin = Plugin(
    "reports",
    "1.0.0",
    serve,
    description="Fetches reports.",
    config=Settings,
    auth=AuthRequirement(
        "jwt",
        (
            CredentialField("account", label="Account", type="string"),
            CredentialField("private_key", label="Private key", description="One line: an EC key as JWK."),
        ),
    ),
)
