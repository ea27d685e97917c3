"""The demo tools, a file for each theme; `everything.toolset` puts them on one server."""
