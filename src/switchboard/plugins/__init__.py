"""In-process plugins: the public API (`api`), how they are found (`discovery`) and made (`loading`).

`adapter` is the one adapter over the SDK: a plugin is only ever called through its `PluginProvider`. `credentials` is
where a plugin's context keeps what people entrust to it.

May import: config, identity, vault, outbound_auth, leaves.
Never imports: sessions, http, backends.
"""

from switchboard.outbound_auth.connectables import CredentialField
from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import (
    EVERYBODY,
    TASK_SUPPORT,
    AuthRequirement,
    Host,
    Kind,
    OpenStream,
    Plugin,
    PluginContext,
    TaskSupport,
    TokenInfo,
)
from switchboard.plugins.discovery import PluginSources
from switchboard.plugins.loading import PluginLoader

__all__ = [
    "EVERYBODY",
    "TASK_SUPPORT",
    "AuthRequirement",
    "CredentialField",
    "Host",
    "Kind",
    "OpenStream",
    "Plugin",
    "PluginContext",
    "PluginLoader",
    "PluginProvider",
    "PluginSources",
    "TaskSupport",
    "TokenInfo",
]
