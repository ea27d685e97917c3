"""In-process plugins: the public API (`api`), how they are found (`loading`), the one adapter over the SDK (`adapter`).

A plugin is only ever called through its `PluginProvider`.

May import: config, leaves.
Never imports: sessions, http, backends.
"""

from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import TASK_SUPPORT, Host, Kind, OpenStream, Plugin, TaskSupport
from switchboard.plugins.loading import found, load

__all__ = [
    "TASK_SUPPORT",
    "Host",
    "Kind",
    "OpenStream",
    "Plugin",
    "PluginProvider",
    "TaskSupport",
    "found",
    "load",
]
