"""Installs the peers of peers.toml, each into an environment of its own below .cache/bench, once.

A peer that cannot be had is no failure: its reason is kept, and stands in the document.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
CACHE: Final = ROOT / ".cache" / "bench"
MANIFEST: Final = Path(__file__).with_name("peers.toml")
INSTALL_S: Final = 900
"""Seconds that one of them may take."""


class Unavailable(RuntimeError):
    """A peer cannot be had, started, or used for this; the message says why."""


@dataclass(frozen=True)
class Peer:
    """One of them."""

    name: str
    kind: str
    """`pypi` or `npm`."""

    package: str
    """Its name and version, as the installer takes it."""

    more: Sequence[str] = ()

    @property
    def folder(self) -> Path:
        """Where it is, or will be."""
        return CACHE / self.name

    @property
    def program(self) -> Path:
        """What is in its environment: its Python, or its node_modules."""
        return self.folder / ("bin" if self.kind == "pypi" else "node_modules")

    @property
    def version(self) -> str:
        """The version of the package."""
        return self.package.replace("==", "@").rpartition("@")[2]


def peers() -> dict[str, Peer]:
    """All that the manifest names."""
    rows: dict[str, dict[str, Any]] = tomllib.loads(MANIFEST.read_text())
    return {
        name: Peer(name, kind, row[kind], tuple(row.get("with", ())))
        for name, row in rows.items()
        for kind in ("pypi", "npm")
        if kind in row
    }


def install(peer: Peer) -> None:
    """Install it, unless it is there in this version.

    Raises:
        Unavailable: it could not be had.
    """
    stamp, wanted = peer.folder / ".installed", json.dumps([peer.package, *peer.more])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    shutil.rmtree(peer.folder, ignore_errors=True)
    peer.folder.mkdir(parents=True)
    print(f"  installing {peer.package}", flush=True)
    log = CACHE / f"{peer.name}.log"
    for command in _commands(peer):
        try:
            with log.open("wb") as out:
                subprocess.run(command, cwd=peer.folder, stdout=out, stderr=out, timeout=INSTALL_S, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            told = log.read_text(errors="replace").strip().splitlines()
            raise Unavailable(f"could not be installed: {(told or [str(error)])[-1][:200]}") from error
    stamp.write_text(wanted)


def _commands(peer: Peer) -> list[list[str]]:
    if peer.kind == "pypi":
        pip = [str(peer.program / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        return [[sys.executable, "-m", "venv", str(peer.folder)], [*pip, peer.package, *peer.more]]
    (peer.folder / "package.json").write_text('{"private": true}\n')
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--silent", "--fetch-timeout=60000"]
    return [["npm", "install", *quiet, peer.package, *peer.more]]
