"""In-process plugins: the public API (`api`), how they are found (`loading`), the one adapter over the SDK (`adapter`).

May import `config` and what is below. A plugin is only ever called through its `PluginProvider`; nothing here knows of
sessions, of HTTP, or of other plugins.
"""

from switchboard.plugins.adapter import PluginProvider
from switchboard.plugins.api import TASK_SUPPORT, Host, Kind, OpenStream, Plugin, TaskSupport
from switchboard.plugins.loading import ENTRY_POINTS, found, load

__all__ = [
    "ENTRY_POINTS",
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
