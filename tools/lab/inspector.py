"""What MCP Inspector's command line and page have in common: the program, and the files that it is configured by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tools.lab.calls import told
from tools.lab.drivers import MODULES

PROGRAM: Final = str(MODULES / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js")
SERVER: Final = "lab"
"""What the endpoint is called in its list."""

ENVIRONMENT: Final = {"MCP_INSPECTOR_SECRET_STORE": "file"}
"""No keychain."""


def storing_in(folder: Path) -> Mapping[str, str]:
    """What has the page keep its settings and tokens in `folder`, where it also finds what `configured` wrote."""
    return {**ENVIRONMENT, "MCP_STORAGE_DIR": str(folder)}


def configured(folder: Path, url: str) -> tuple[Path, Path]:
    """Write what the program is configured by into `folder`.

    The list of servers, with the endpoint in it, and the settings of the installation, which are the page's if the
    folder is where it stores its own.
    """
    servers, installation = folder / "servers.json", folder / "client.json"
    known = told()
    client = {name: value for name, value in (("clientId", known.client), ("clientSecret", known.secret)) if value}
    oauth: Mapping[str, Any] = {**client, **({"enterpriseManaged": True} if known.company else {})}
    server = {"type": "streamable-http", "url": url, **({"oauth": oauth} if oauth else {})}
    servers.write_text(json.dumps({"mcpServers": {SERVER: server}}))
    settings: dict[str, Any] = {}
    if known.document:
        settings["cimd"] = {"enabled": True, "clientMetadataUrl": known.document}
    if known.company:
        settings["enterpriseManagedAuth"] = {"enabled": True, "idp": {"issuer": known.company, **client}}
    installation.write_text(json.dumps(settings))
    return servers, installation
