"""The demo toolset: every MCP feature once, as a plugin.

Owns the tools, prompts, resources and completions that a newcomer tries first, and the ticker that shows what a
server may say on its own. A file holds one theme; `toolset` puts them together. Handlers keep nothing between
requests, because the next request of the same client may reach another worker. Opens no connection, and
does nothing when imported.

May import: plugins, identity, leaves.
Never imports: settings, state, httpx2.
"""

from switchboard.everything.toolset import plugin

__all__ = ["plugin"]
