"""The official conformance suite's fixtures, as a plugin: off by default, mounted without a prefix.

Owns the tools, resources, prompts and completions that the suite calls by name, each doing for real what its name
says. Nothing is kept between requests, because the next request of the same client may reach another worker. A file
holds one theme; `toolset` puts them together. May import `plugins` (the plugin API) and `errors`; never `everything`,
never settings, and nothing happens when it is imported. The suite itself is run by `make conformance`.
"""

from switchboard.conformance.toolset import plugin

__all__ = ["plugin"]
