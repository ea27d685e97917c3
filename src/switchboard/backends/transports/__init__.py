"""Stdio children, Streamable HTTP of both eras and HTTP+SSE: how a connection is opened and read."""
