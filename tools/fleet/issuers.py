"""Standalone authorization servers that share one Redis, behind a load balancer that takes strict turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.fleet.balancer import Balancer, find_nginx, start_balancer
from tools.fleet.children import Child, free_port
from tools.fleet.redis_server import RedisServer, start_redis
from tools.fleet.workers import fleet_settings, start_auth_server


@dataclass(frozen=True)
class Issuers:
    """Running authorization servers that are one issuer."""

    ports: tuple[int, ...]
    env: Mapping[str, str]
    redis: RedisServer
    balancer: Balancer
    servers: tuple[Child, ...]

    @property
    def url(self) -> str:
        """The issuer."""
        return self.balancer.url


@contextmanager
def running_issuers(
    folder: Path,
    *,
    servers: int = 2,
    base_uri: str = "http://localhost:3232",
    redis: RedisServer | None = None,
    env: Mapping[str, str] | None = None,
) -> Iterator[Issuers]:
    """Run an issuer for the MCP server at `base_uri`; everything that was started is stopped at the end."""
    with ExitStack() as stack:
        if redis is None:
            redis = start_redis(folder)
            if redis.child:
                stack.callback(redis.child.stop)
        front = free_port()
        settings = fleet_settings(base_uri, redis.url)
        settings |= {"AUTH_SERVER_URL": f"http://localhost:{front}"} | dict(env or {})
        ports = tuple(free_port() for _ in range(servers))
        children = []
        for port in ports:
            children.append(start_auth_server(folder / str(port), port, settings | {"AUTH_SERVER_PORT": str(port)}))
            stack.callback(children[-1].stop)
        balancer = start_balancer(folder, front, ports, nginx=find_nginx())
        stack.callback(balancer.child.stop)
        yield Issuers(ports, settings, redis, balancer, tuple(children))
