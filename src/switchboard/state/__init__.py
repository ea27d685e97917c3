"""Redis and its in-process stand-in."""
