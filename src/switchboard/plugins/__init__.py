"""In-process plugins: the public API (`api`), how they are found (`loading`), and the one adapter over the SDK (`adapter`)."""

from switchboard.plugins.api import Host, OpenStream, Plugin

__all__ = ["Host", "OpenStream", "Plugin"]
