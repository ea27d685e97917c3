"""Switchboard itself: workers and the standalone authorization server, as processes; and the fleet they make."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from mcp import Client

from switchboard.cli.login import obtain_token
from switchboard.timing import Timing
from tools.fleet.balancer import Balancer, find_nginx, start_balancer
from tools.fleet.children import LOOPBACK, Child, answers, free_port, start
from tools.fleet.redis_server import RedisServer, start_redis

COMMAND = str(Path(sys.executable).parent / "switchboard")
HASTE: Final = Timing(lease_s=3.0, renew_s=0.5, poll_s=0.3)
"""For workers that are lost on purpose: a loss is known after three seconds instead of twelve.

A busy machine may keep a worker from renewing for two seconds, and nothing is lost.
"""

OFFERED_WITHIN_S: Final = 300
"""Seconds until what a gateway's backends have is offered, at most."""

START_TIMEOUT = 120
"""Seconds a worker may take to its first answer; generous, for machines that are busy with other things."""


def unmeasured() -> dict[str, str]:
    """This process's environment without what has coverage measured: with it, workers start and serve half as fast.

    What workers run, the tests of their rooms run as well, and those of the command line in measured processes.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def launch_worker(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard serve` on the port, and do not wait for it."""
    command = [COMMAND, "serve", "--host", LOOPBACK, "--port", str(port)]
    return start(f"worker-{port}", command, folder, {**unmeasured(), **env})


def start_worker(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard serve` on the port and return when it is ready."""
    child = launch_worker(folder, port, env)
    child.wait_until(lambda: answers(port, "/readyz"), START_TIMEOUT)
    return child


def start_auth_server(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard auth-server` on the port and return when its metadata can be read."""
    child = start("auth-server", [COMMAND, "auth-server"], folder, {**unmeasured(), **env})
    child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), START_TIMEOUT)
    return child


def drive_token(url: str, user: str) -> str:
    """Get an access token for `user` as `switchboard token` does: by the real flow through the fake IdP."""
    return obtain_token(url, user=user)


@dataclass(frozen=True)
class Fleet:
    """Workers that share one Redis behind one load balancer."""

    folder: Path
    ports: tuple[int, ...]
    env: Mapping[str, str]
    redis: RedisServer
    balancer: Balancer
    workers: list[Child]

    @property
    def base(self) -> str:
        """The fleet's one address."""
        return self.balancer.url

    @property
    def url(self) -> str:
        """The MCP endpoint behind the load balancer."""
        return f"{self.base}/mcp"

    def worker_url(self, index: int) -> str:
        """One worker's own MCP endpoint, past the load balancer."""
        return f"http://{LOOPBACK}:{self.ports[index]}/mcp"

    def token(self, user: str = "alice") -> str:
        """An access token for the user, by the real flow through the load balancer."""
        return drive_token(self.base, user)

    def kill(self, index: int) -> None:
        """End a worker with SIGKILL."""
        self.workers[index].kill()

    def restart(self, index: int) -> None:
        """Start a worker again on its port."""
        self.workers[index] = start_worker(self.folder, self.ports[index], self.env)

    def index_of(self, port: int) -> int:
        """Which worker listens on the port."""
        return self.ports.index(port)


@contextmanager
def running_fleet(
    folder: Path,
    *,
    workers: int = 2,
    port: int | None = None,
    redis: RedisServer | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Fleet]:
    """Run a fleet; everything that was started is stopped at the end."""
    with ExitStack() as stack:
        if redis is None:
            redis = start_redis(folder)
            if redis.child:
                stack.callback(redis.child.stop)
        front = port or free_port()
        settings = fleet_settings(f"http://localhost:{front}", redis.url) | dict(env or {})
        ports = tuple(free_port() for _ in range(workers))
        children = [launch_worker(folder, worker, settings) for worker in ports]
        stack.callback(lambda: [child.stop() for child in children])
        for worker, child in zip(ports, children, strict=True):
            child.wait_until(partial(answers, worker, "/readyz"), START_TIMEOUT)
        balancer = start_balancer(folder, front, ports, nginx=find_nginx())
        stack.callback(balancer.child.stop)
        yield Fleet(folder, ports, settings, redis, balancer, children)


def fleet_settings(base_uri: str, redis_url: str) -> dict[str, str]:
    """The environment that makes workers one fleet: the same address, Redis and key for all."""
    return {
        "BASE_URI": base_uri,
        "REDIS_URL": redis_url,
        "SECRET_KEY": secrets.token_urlsafe(32),
        "AUTH_MODE": "integrated",
        "TRUSTED_PROXIES": LOOPBACK,
        "RATE_LIMIT": "0",
        "DRAIN_GRACE": "0",
        "LOG_FORMAT": "json",
    }


def installed(folder: Path, name: str, factory: str) -> dict[str, str]:
    """Install a plugin for processes with the returned environment alone.

    What makes a plugin found is an entry point in the metadata of a distribution. They are written into a folder of
    their own, which is put on those processes' path; `factory` ("package.module:function") they can import already.
    """
    metadata = folder / "plugins" / f"{name}_plugin-1.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-plugin\nVersion: 1.0.0\n")
    (metadata / "entry_points.txt").write_text(f"[switchboard.plugins]\n{name} = {factory}\n")
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(metadata.parent), os.environ.get("PYTHONPATH"))))}


def only(folder: Path, name: str, factory: str, config: Mapping[str, object] | None = None) -> dict[str, str]:
    """The environment of workers that have this one plugin, its tools without a prefix, and not the demo's."""
    file = folder / f"{name}.json"
    rows = {"everything": {"enabled": False}, name: {"prefix": "never", "config": config or {}}}
    file.write_text(json.dumps({"plugins": rows}))
    return installed(folder, name, factory) | {"CONFIG_FILE": str(file)}


async def offered(client: Client, tool: str, times: int = 1) -> None:
    """Wait until a client was offered a tool so many times: with several workers in turn, by each of them.

    What its backends have, a gateway finds out after it began to serve.
    """
    async with asyncio.timeout(OFFERED_WITHIN_S):
        while times:
            tools = (await client.list_tools(cache_mode="refresh")).tools
            times = times - 1 if any(one.name == tool for one in tools) else times
            await asyncio.sleep(0.02)
