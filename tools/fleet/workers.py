"""Switchboard itself: workers and the standalone authorization server, as processes; and the fleet they make."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.fleet.balancer import Balancer, find_nginx, start_balancer
from tools.fleet.children import LOOPBACK, Child, answers, free_port, start
from tools.fleet.redis_server import RedisServer, start_redis

COMMAND = str(Path(sys.executable).parent / "switchboard")
START_TIMEOUT = 120
"""Seconds a worker may take to its first answer; generous, for machines that are busy with other things."""


def launch_worker(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard serve` on the port, and do not wait for it."""
    command = [COMMAND, "serve", "--host", LOOPBACK, "--port", str(port)]
    return start(f"worker-{port}", command, folder, {**os.environ, **env})


def start_worker(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard serve` on the port and return when it is ready."""
    child = launch_worker(folder, port, env)
    child.wait_until(lambda: answers(port, "/readyz"), START_TIMEOUT)
    return child


def start_auth_server(folder: Path, port: int, env: Mapping[str, str]) -> Child:
    """Start `switchboard auth-server` on the port and return when its metadata can be read."""
    child = start("auth-server", [COMMAND, "auth-server"], folder, {**os.environ, **env})
    child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), START_TIMEOUT)
    return child


def drive_token(url: str, user: str) -> str:
    """Get an access token for `user` with `switchboard token`, which drives the real flow through the fake IdP."""
    command = [COMMAND, "token", "--user", user, "--url", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"switchboard token ended with code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()[-1]


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
