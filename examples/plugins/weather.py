"""A plugin with an API key: each person enters their own on the page of connections."""

import httpx2
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

from switchboard.plugins import AuthRequirement, CredentialField, Plugin, PluginContext


class Settings(BaseModel, extra="forbid"):
    """What `plugins.weather.config` says."""

    url: str
    """Where the service is."""


def serve(context: PluginContext[Settings]) -> MCPServer:
    """Make the server."""
    server = MCPServer("weather")

    @server.tool()
    async def forecast(city: str) -> str:
        """Tell tomorrow's weather."""
        key = await context.need_credential("api_key")
        async with httpx2.AsyncClient(timeout=10) as http:
            answer = await http.get(f"{context.config.url}/forecast", params={"city": city}, headers={"X-Api-Key": key})
        if answer.status_code == 401:
            await context.require_reauth()
            raise ToolError("The weather service refuses your API key: enter another one")
        answer.raise_for_status()
        return str(answer.json()["forecast"])

    return server


key = CredentialField("api_key", label="API key", description="From your account at the weather service.")
plugin = Plugin(
    "weather",
    "1.0.0",
    serve,
    description="Tells the weather.",
    config=Settings,
    auth=AuthRequirement("api-key", (key,)),
)
