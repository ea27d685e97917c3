"""Where servers come from: a description becomes something launchable.

Owns the strategies, one for each `source` (`table`), the folder with what they installed and pinned
(`install_cache`), running installers with visible progress (`installer`), and what a machine lacks for a server. Never
talks MCP and never starts a server: `backends` does, and the composition root carries a `Launch` over.

May import: config, leaves.
Never imports: backends, mcp.
"""

from switchboard.sources.cache_health import CacheWatch, unusable
from switchboard.sources.launch import Launch, SourceContext, SourceFailure
from switchboard.sources.table import lacking, prepare

__all__ = ["CacheWatch", "Launch", "SourceContext", "SourceFailure", "lacking", "prepare", "unusable"]
