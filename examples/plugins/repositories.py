"""A plugin with OAuth: each person signs in at GitHub. `plugins.repositories.auth` has the client id and secret."""

import httpx2
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel

from switchboard.plugins import AuthRequirement, Plugin, PluginContext


class Settings(BaseModel, extra="forbid"):
    """What `plugins.repositories.config` says."""

    api: str = "https://api.github.com"
    path: str = "/user"


def serve(context: PluginContext[Settings]) -> MCPServer:
    """Make the server."""
    server = MCPServer("repositories")

    @server.tool()
    async def me() -> str:
        """Tell who you are at GitHub."""
        token = await context.access_token()
        async with httpx2.AsyncClient(timeout=10) as http:
            answer = await http.get(
                f"{context.config.api}{context.config.path}", headers={"Authorization": f"Bearer {token}"}
            )
        answer.raise_for_status()
        return str(answer.json()["login"])

    return server


plugin = Plugin(
    "repositories",
    "1.0.0",
    serve,
    description="Works with your repositories.",
    config=Settings,
    auth=AuthRequirement("oauth2", provider="github", scopes=("read:user",)),
)
