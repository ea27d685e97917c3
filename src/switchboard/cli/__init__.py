"""The command line: `switchboard serve`, `config`, `servers` and the others that `switchboard --help` lists.

Owns processes (one worker, or a parent of several), the start screen and exit codes. A command's file is imported once
it is called. May import settings and, by name at run time, the composition root: logging must be configured before a
plugin is imported. Serves no request itself.
"""

from switchboard.cli.commands import main

__all__ = ["main"]
