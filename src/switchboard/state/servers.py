"""The kinds of Redis there are, by URL: one server, Sentinel, Cluster, or the stand-in inside this process.

| URL | what |
|---|---|
| `redis://`, `rediss://` (TLS), `unix://` | one server |
| `redis+sentinel://[user:pw@]host:port[,…]/db?service=NAME`, `rediss+sentinel://` | the master Sentinel names |
| `redis+cluster://[user:pw@]host:port[,…]`, `rediss+cluster://` | a Cluster, 7.0 or newer |

With TLS, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile` (paths) and `ssl_cert_reqs` may stand in the query. Sentinels
are asked with TLS too, and without the user and password, which are the master's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from switchboard.state.pools import FREE_CONNECTION_S, Cluster, Pool, SentinelPool
from switchboard.state.redis_compat import heeding
from switchboard.state.topology import ClusterMasters, SingleServer, Topology

POOL: Final = 64
"""Connections for commands, when nothing else is said."""

COMMAND_TIMEOUT_S: Final = 5.0
TLS_OPTIONS: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs")
SENTINEL_PORT: Final = 26379
REDIS_PORT: Final = 6379


@dataclass(frozen=True)
class Server:
    """A client for commands, and where its pub/sub is."""

    redis: Redis
    places: Topology
    close: Callable[[], Awaitable[None]]


def server(url: str | None, connections: int = POOL) -> Server:
    """The server that `url` names; `None` is the one inside this process. Nothing is connected yet."""
    if url is None:
        return _memory(connections)
    scheme = urlsplit(url).scheme
    make = next((make for suffix, make in _KINDS if scheme.endswith(suffix)), _single)
    return make(url, connections)


def _common() -> dict[str, Any]:
    return {
        "decode_responses": True,
        "socket_timeout": COMMAND_TIMEOUT_S,
        "socket_connect_timeout": COMMAND_TIMEOUT_S,
        "protocol": 2,
        # A script that timed out may have run: repeating it is the caller's choice.
        "retry": Retry(NoBackoff(), 0),
    }


def _memory(connections: int) -> Server:
    from fakeredis import FakeAsyncRedis, FakeServer  # a hundred modules, for whoever has no Redis

    fake: Any = FakeAsyncRedis(server=FakeServer(), decode_responses=True, protocol=2)
    made = fake.connection_pool
    fake.connection_pool = Pool(
        connections, FREE_CONNECTION_S, connection_class=made.connection_class, **made.connection_kwargs
    )
    return _pooled(fake, close_pool=False)


def _single(url: str, connections: int) -> Server:
    pool: Any = Pool.from_url(url, max_connections=connections, timeout=FREE_CONNECTION_S, **_common())
    return _pooled(Redis.from_pool(pool))


def _sentinel(url: str, connections: int) -> Server:
    parts = urlsplit(url)
    service = parse_qs(parts.query).get("service", ["mymaster"])[0]
    kwargs = {**_common(), **_tls(url), **_credentials(url), "db": int(parts.path.strip("/") or 0)}
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]
        _hosts(url, SENTINEL_PORT), sentinel_kwargs={**_common(), **_tls(url)}, **kwargs
    )
    master = sentinel.master_for(
        service, connection_pool_class=SentinelPool, max_connections=connections, timeout=FREE_CONNECTION_S
    )
    return _pooled(cast(Redis, master), sentinel.sentinels)


def _cluster(url: str, connections: int) -> Server:
    tls = _tls(url)
    secure = tls.pop("ssl", False)
    kwargs = {**_common(), **tls, **_credentials(url), "retry": Retry(NoBackoff(), 3)}
    seeds = _hosts(url, REDIS_PORT)
    nodes = [ClusterNode(host, port) for host, port in seeds]
    client: Any = Cluster(connections, startup_nodes=nodes, ssl=secure, **kwargs)
    kind = heeding(SSLConnection if secure else Connection)
    client.nodes_manager.connection_kwargs["connection_class"] = kind
    for node in client.nodes_manager.startup_nodes.values():
        node.connection_class = kind

    masters = ClusterMasters(client, seeds, lambda host, port: _lone(kind, {**kwargs, "host": host, "port": port}))
    return Server(cast(Redis, client), masters, client.end)


def _pooled(redis: Redis, others: Sequence[Redis] = (), *, close_pool: bool = True) -> Server:
    pool: Any = redis.connection_pool
    pool.connection_class = heeding(pool.connection_class)

    async def close() -> None:
        for client in (redis, *others):
            await client.aclose()
        if close_pool:
            await pool.disconnect()

    return Server(redis, SingleServer(lambda: _lone(pool.connection_class, pool.connection_kwargs)), close)


def _lone(kind: Any, kwargs: dict[str, Any]) -> Any:
    # Whoever shares the server may publish anything: what is not text is for the listener to refuse.
    own = {"retry": Retry(NoBackoff(), 0), "protocol": 2, "decode_responses": True, "encoding_errors": "replace"}
    return kind(**{name: value for name, value in kwargs.items() if name != "connection_class"} | own)


def _hosts(url: str, default_port: int) -> list[tuple[str, int]]:
    found = []
    for item in urlsplit(url).netloc.rpartition("@")[2].split(","):
        host, _, port = item.rpartition(":") if ":" in item.rpartition("]")[2] else (item, "", "")
        found.append((host.strip("[]"), int(port or default_port)))
    return found


def _tls(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    options: dict[str, Any] = {name: given[name][0] for name in TLS_OPTIONS if name in given}
    return {"ssl": True, **options} if parts.scheme.startswith("rediss") else {}


def _credentials(url: str) -> dict[str, str]:
    user, _, password = urlsplit(url).netloc.rpartition("@")[0].partition(":")
    given = {"username": unquote(user), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}


_KINDS: Final[tuple[tuple[str, Callable[[str, int], Server]], ...]] = (("+sentinel", _sentinel), ("+cluster", _cluster))
