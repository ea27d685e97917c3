"""The demo toolset."""
