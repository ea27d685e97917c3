"""The one MCP server that clients see: a file per MCP feature, the same handlers for both eras.

Owns the SDK `Server`, its middleware order, and the live catalog that its handlers read. Keeps nothing
of a client: log levels and subscriptions go out through injected callables.

May import: audit, catalog, plugins, config, identity, leaves.
Never imports: sessions, http, starlette.
"""

from switchboard.gateway.fast_path import FastPath, NoFastPath
from switchboard.gateway.live import LiveCatalog
from switchboard.gateway.resources import readable
from switchboard.gateway.selecting import SelectedCatalog
from switchboard.gateway.server import Gateway, bind_principal, build_gateway, initialization_options
from switchboard.gateway.source import CatalogSource, Provider
from switchboard.gateway.tools import task_support

__all__ = [
    "CatalogSource",
    "FastPath",
    "Gateway",
    "LiveCatalog",
    "NoFastPath",
    "Provider",
    "SelectedCatalog",
    "bind_principal",
    "build_gateway",
    "initialization_options",
    "readable",
    "task_support",
]
