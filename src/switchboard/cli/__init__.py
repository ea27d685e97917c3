"""The command line: `switchboard serve`, `auth-server`, `token`, `version`.

Owns processes (one worker, or a parent of several), the start screen and exit codes. May import settings and, by name
at run time, the composition root: logging must be configured before a plugin is imported. Serves no request itself.
"""

from switchboard.cli.commands import main

__all__ = ["main"]
