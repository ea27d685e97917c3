"""What MCP Inspector's command line and page have in common: the program, and the files that it is configured by."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tools.lab.calls import given
from tools.lab.drivers import MODULES

PROGRAM: Final = str(MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js")
SERVER: Final = "lab"
"""What the endpoint is called in its list."""

ENVIRONMENT: Final = {"MCP_INSPECTOR_SECRET_STORE": "file"}
"""No keychain."""


def company() -> str | None:
    """The issuer of the company's identity provider, where the client is told of one."""
    return os.environ.get("LAB_COMPANY")


def configured(folder: Path, url: str) -> tuple[Path, Path]:
    """The list of servers, with the endpoint in it, and the settings of the installation; written into `folder`."""
    servers, installation = folder / "servers.json", folder / "client.json"
    client_id, document = given()
    about = {"clientId": client_id, "clientSecret": os.environ.get("LAB_CLIENT_SECRET")}
    known = {name: value for name, value in about.items() if value}
    oauth: Mapping[str, Any] = {**known, **({"enterpriseManaged": True} if company() else {})}
    server = {"type": "streamable-http", "url": url, **({"oauth": oauth} if oauth else {})}
    servers.write_text(json.dumps({"mcpServers": {SERVER: server}}))
    settings: dict[str, Any] = {"cimd": {"enabled": True, "clientMetadataUrl": document}} if document else {}
    if provider := company():
        settings["enterpriseManagedAuth"] = {"enabled": True, "idp": {"issuer": provider, **known}}
    installation.write_text(json.dumps(settings))
    return servers, installation
