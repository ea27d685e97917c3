"""Where the client of one scenario lives: a home of its own, so that it finds no tokens of another scenario."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

BROWSERS: Final = ("browser", "xdg-open", "open", "x-www-browser", "www-browser")
"""By which names programs call a browser where they do not go by BROWSER."""

_FOLDERS: Final = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
_CACHES: Final = {"npm_config_cache": ".npm", "UV_CACHE_DIR": ".cache/uv"}
"""Downloads of npx and uvx, which each home would fetch again."""


def make_browser(folder: Path) -> Path:
    """Programs in `folder` that stand in for a browser, and go on while the client waits for its callback."""
    folder.mkdir(parents=True, exist_ok=True)
    program = shlex.join([sys.executable, "-I", str(Path(__file__).with_name("visit.py"))])
    for name in BROWSERS:
        script = folder / name
        script.write_text(f'#!/bin/sh\n{program} "$@" </dev/null >/dev/null 2>>{shlex.quote(str(folder))}/log &\n')
        script.chmod(0o700)
    return folder / BROWSERS[0]


def environment(
    home: Path, browser: Path, scenario: str, url: str, told: Mapping[str, str] | None = None
) -> Mapping[str, str]:
    """This process's environment with a home, a browser and an endpoint for one client; the folders are made.

    Args:
        told: what the lab has the tester tell a client in this scenario; each is in the environment, after `LAB_`.
    """
    folders = {name: str(home / below) for name, below in _FOLDERS.items()}
    for folder in (str(home), *folders.values()):
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
    caches = {name: os.environ.get(name, str(Path.home() / below)) for name, below in _CACHES.items()}
    path = f"{browser.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {
        **os.environ,
        **folders,
        **caches,
        "HOME": str(home),
        "PATH": path,
        "BROWSER": str(browser),
        "MCP_URL": url,
        "LAB_SCENARIO": scenario,
        **{f"LAB_{name.upper()}": value for name, value in (told or {}).items()},
    }
