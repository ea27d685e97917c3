"""The command line: `switchboard serve`, `config`, `servers` and the others that `switchboard --help` lists.

Owns processes (one worker, or a parent of several), the start screen and exit codes. A command's file is imported once
it is called, and the composition root at run time alone: logging must be configured before a plugin is imported.
Serves no request itself.

May import: any room.
Never imports: sessions, gateway, redis.
"""

from switchboard.cli.commands import main

__all__ = ["main"]
