"""Switchboard: a remote MCP server that any number of workers serve behind one hostname."""

__version__ = "0.1.0"
