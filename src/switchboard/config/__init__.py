"""The configuration file: read, laid under the environment and the fleet's overlay, validated, frozen; and watched.

Owns its shape (`model`, `servers`, `exposure`), its formats (`formats`), `${VAR}` expansion (`expansion`), what lies on
what (`layers`, `overlay`), reading (`files`), showing (`redaction`, `schema`), other files' shapes (`importing`), edits
that keep a backup (`editing`) and noticing changes (`watching`). The environment to expand from is handed in.

May import: state, leaves.
Never imports: plugins, backends, sources.
"""

from switchboard.config.auth import Auth, IdentityProvider, OAuthClient, ServiceAuth
from switchboard.config.exposure import Exposure, Prefix, ToolRule
from switchboard.config.files import read
from switchboard.config.model import (
    BUILT_IN,
    Configuration,
    PluginLimits,
    PluginSection,
    Preset,
    ToolSearch,
    provider_name,
)
from switchboard.config.servers import ConnectionScope, Era, ServerSection, SourceKind, Transport

__all__ = [
    "BUILT_IN",
    "Auth",
    "Configuration",
    "ConnectionScope",
    "Era",
    "Exposure",
    "IdentityProvider",
    "OAuthClient",
    "PluginLimits",
    "PluginSection",
    "Prefix",
    "Preset",
    "ServerSection",
    "ServiceAuth",
    "SourceKind",
    "ToolRule",
    "ToolSearch",
    "Transport",
    "provider_name",
    "read",
]
