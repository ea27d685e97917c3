"""Every kind of URL on real servers: TLS with a certificate of one's own, users and passwords, Sentinel, a prefix."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from switchboard.errors import StateUnavailable
from switchboard.state import State, open_state
from tools.fleet.certificates import Certificate, self_made
from tools.fleet.children import PAUSE, free_port, listens, start
from tools.fleet.redis_server import RedisServer, find_binary

SECRET = "p@ss:word/1"
QUOTED = "p%40ss%3Aword%2F1"


def tls(certificate: Certificate, port: int) -> list[str]:
    files = ["--tls-cert-file", str(certificate.certificate), "--tls-key-file", str(certificate.key)]
    return ["--port", "0", "--tls-port", str(port), *files, "--tls-auth-clients", "no"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_made(tmp_path_factory.mktemp("tls"))


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(PAUSE)


async def works(state: State) -> None:
    """Commands, scripts, pipelines, look-ups and wake-ups."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    await state.redis.hset(state.keys.session("s"), mapping={"owner": "me"})
    await state.redis.pexpire(state.keys.session("s"), 60_000)
    async with state.pubsub.subscribed(state.keys.to_client("s", "s"), heard.put_nowait):
        keys = [state.keys.session("s"), state.keys.events("s", "s")]
        assert await state.scripts.append(keys=keys, args=[state.keys.to_client("s", "s"), 10, "{}"])
        assert await asyncio.wait_for(heard.get(), 60) == "1"
    assert await state.lookups.ask("HMGET", state.keys.session("s"), "owner", "v") == ["me", None]


async def test_tls_with_a_user_and_a_password(
    start_private_redis: Callable[..., RedisServer], certificate: Certificate
) -> None:
    port = free_port()
    users = ["--user", "app", "on", f">{SECRET}", "~*", "&*", "+@all"]
    start_private_redis(port=port, options=[*tls(certificate, port), *users])
    at = f"rediss://app:{QUOTED}@localhost:{port}/0"
    async with open_state(f"{at}?ssl_ca_certs={certificate.certificate}") as state:
        await works(state)
    async with open_state(at) as stranger:
        with pytest.raises(StateUnavailable, match="CERTIFICATE"), stranger.guard():
            await stranger.redis.ping()
        with pytest.raises(StateUnavailable, match="CERTIFICATE"):
            await stranger.lookups.ask("GET", "k")
    wrong = f"rediss://app:wrong@localhost:{port}/0?ssl_ca_certs={certificate.certificate}"
    async with open_state(wrong) as refused:
        with pytest.raises(StateUnavailable, match="password"), refused.guard():
            await refused.redis.ping()
        with pytest.raises(StateUnavailable, match="password"):
            await refused.lookups.ask("GET", "k")


async def test_a_cluster_over_tls(start_private_redis: Callable[..., RedisServer], certificate: Certificate) -> None:
    port, trusted = free_port(), str(certificate.certificate)
    options = [
        *tls(certificate, port),
        "--cluster-enabled",
        "yes",
        "--tls-cluster",
        "yes",
        "--tls-ca-cert-file",
        trusted,
    ]
    start_private_redis(port=port, options=[*options, "--requirepass", SECRET, "--cluster-port", str(free_port())])
    with redis.Redis("127.0.0.1", port, password=SECRET, decode_responses=True, ssl=True, ssl_ca_certs=trusted) as node:
        node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        eventually(lambda: node.cluster("info")["cluster_state"] == "ok")
    url = f"rediss+cluster://:{QUOTED}@127.0.0.1:{port}?ssl_ca_certs={certificate.certificate}"
    async with open_state(url) as state:
        await works(state)


@dataclass
class Watched:
    """A master and a replica, and the Sentinel that watches them."""

    sentinel: int
    url: str

    def master(self) -> int:
        with redis.Redis("127.0.0.1", self.sentinel, decode_responses=True) as asked:
            return int(asked.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])


@pytest.fixture
def watched(start_private_redis: Callable[..., RedisServer], tmp_path: Path) -> Iterator[Watched]:
    master, replica, sentinel = free_port(), free_port(), free_port()
    start_private_redis(port=master, options=["--repl-diskless-sync-delay", "0"])
    start_private_redis(port=replica, options=["--replicaof", "127.0.0.1", str(master)])
    (tmp_path / "sentinel.conf").write_text(
        f"port {sentinel}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 1\n"
        "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n"
    )
    binary = find_binary()
    assert binary is not None
    child = start("sentinel", [binary.path, str(tmp_path / "sentinel.conf"), "--sentinel"], tmp_path)
    with ExitStack() as stack:
        stack.callback(child.stop)
        child.wait_until(lambda: listens(sentinel), 120)
        child.wait_until(lambda: _replicas(sentinel) == 1, 120)
        yield Watched(sentinel, f"redis+sentinel://127.0.0.1:{sentinel}/0?service=main")


def _replicas(sentinel: int) -> int:
    """How many replicas may take over."""
    with redis.Redis("127.0.0.1", sentinel, decode_responses=True) as asked:
        return sum(each["master-link-status"] == "ok" for each in asked.sentinel_slaves("main"))


async def test_the_master_that_sentinel_names_is_used_also_after_a_failover(watched: Watched) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with open_state(watched.url) as state, state.pubsub.subscribed("c", heard.put_nowait):
        await works(state)
        before = watched.master()
        with redis.Redis("127.0.0.1", watched.sentinel) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", "main")
        async with asyncio.timeout(60):
            while watched.master() == before:
                await asyncio.sleep(0.05)
            with redis.Redis("127.0.0.1", watched.master()) as master:
                while not master.get("after"):  # the old one still took writes, and lost them, until it was told
                    await _tried(state)
                    await asyncio.sleep(0.02)  # ten seconds of it are nothing for a processor to be busy with
            await state.pubsub.publish("c", "after")
            while await heard.get() != "after":
                pass
            while not await _looked_up(state, "after"):
                await asyncio.sleep(0.01)
            await state.lookups.ask("PEXPIRE", "after", 60_000)


async def _tried(state: State) -> None:
    try:
        with state.guard():
            await state.redis.set("after", "1")
    except StateUnavailable:
        await asyncio.sleep(0.05)


async def _looked_up(state: State, key: str) -> bool:
    try:
        return bool(await state.lookups.ask("GET", key))
    except StateUnavailable:
        return False
