"""The proxies of deploy/ other than nginx: the shipped files, with the addresses of this machine, as processes."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.fleet.children import LOOPBACK, Child, answers, listens, start

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
START_TIMEOUT_S: Final = 120
BESIDE: Final = str(Path(sys.executable).parent)
"""Where pip puts programs: Envoy comes from a wheel."""


@dataclass(frozen=True)
class Proxy:
    """One kind of proxy: its file in deploy/, its command, and what the file needs to listen on a port of loopback."""

    file: str
    command: Sequence[str]
    listening: Callable[[str, int], str]
    ready: Callable[[int], bool] = listens
    """Whether requests to the port reach the workers."""

    def found(self) -> str | None:
        """The program, also where it is not on an ordinary user's PATH; None where it is not installed."""
        return shutil.which(self.command[0], path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", BESIDE)))

    def render(self, port: int, workers: Sequence[int]) -> str:
        """The shipped file, with these workers, at this port of the loopback address."""
        text = self.listening((DEPLOY / self.file).read_text(), port)
        for number, worker in enumerate(workers, 1):
            text = text.replace(f"worker-{number}:3232", f"{LOOPBACK}:{worker}")
            text = text.replace(
                f"address: worker-{number}, port_value: 3232", f"address: {LOOPBACK}, port_value: {worker}"
            )
        if re.search(r"^[^#\n]*\b3232\b", text, re.MULTILINE):
            raise ValueError(f"{self.file}: an address of it was not replaced")
        return text

    def start(self, folder: Path, port: int, workers: Sequence[int]) -> Child:
        """Start it before the workers' ports, and return when requests reach them."""
        program = self.found()
        if program is None:
            raise FileNotFoundError(f"{self.command[0]} is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / self.file
        file.write_text(self.render(port, workers).replace(f"/etc/traefik/{file.name}", str(file)))
        own = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        child = start(self.command[0], [program, *self.command[1:], str(file)], folder, {**os.environ, **own})
        child.wait_until(lambda: self.ready(port), START_TIMEOUT_S)
        return child


def _caddy(text: str, port: int) -> str:
    here = text.replace("mcp.example.com {", f"http://{LOOPBACK}:{port}, http://localhost:{port} {{")
    return "{\n  admin off\n}\n" + here


def _haproxy(text: str, port: int) -> str:
    return text.replace("bind :3232", f"bind {LOOPBACK}:{port}")


def _envoy(text: str, port: int) -> str:
    return text.replace("address: 0.0.0.0, port_value: 3232", f"address: {LOOPBACK}, port_value: {port}")


def _traefik(text: str, port: int) -> str:
    return text.replace('address: ":3232"', f"address: {LOOPBACK}:{port}")


def _routes(port: int) -> bool:
    """Whether it has its routes: Traefik listens before that, and says 404."""
    return answers(port, "/healthz")


PROXIES: Final = {
    "caddy": Proxy("Caddyfile", ["caddy", "run", "--adapter", "caddyfile", "--config"], _caddy),
    "haproxy": Proxy("haproxy.cfg", ["haproxy", "-db", "-f"], _haproxy),
    "envoy": Proxy("envoy.yaml", ["envoy", "--use-dynamic-base-id", "--concurrency", "1", "-l", "warn", "-c"], _envoy),
    "traefik": Proxy("traefik.yaml", ["traefik", "--configFile"], _traefik, _routes),
}
"""By name; nginx, which the fleet itself stands behind, is tools/fleet/balancer.py."""
