"""The servers that are measured: ours and those of others, each started once when a row first needs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from scratch.bench.install import ROOT, Peer, Unavailable, install, peers
from scratch.bench.messages import Client, is_answered, sent_once
from scratch.bench.processes import Cores, Process, launch, pinned
from tools.fleet.children import LOOPBACK, NotReady, answers, free_port
from tools.fleet.redis_server import RedisServer, start_redis
from tools.fleet.tokens import PublicClient
from tools.fleet.workers import COMMAND, fleet_settings, installed

PROGRAMS: Final = Path(__file__).parent / "programs"
SMALL: Final = (sys.executable, "-S", str(PROGRAMS / "small_server.py"), "stdio")
SDK_CHILD: Final = (sys.executable, "-m", "scratch.bench.programs.sdk_server", "stdio")
READY_S: Final = 90
"""Seconds that a server may take to its first right answer."""

PLENTY: Final = "100000000"
"""A rate limit that is on, and that nobody reaches."""

PEOPLE: Final = 32
"""How many users have a token of their own."""


@dataclass
class Server:
    """One that runs, and how it is spoken to."""

    name: str
    process: Process
    port: int
    path: str = "/mcp"
    tool: str = "echo"
    said: str = ""
    """How the answer to a text looks, where it is not the text; `{}` stands for the text."""

    tokens: Sequence[str] = ("",)
    version: str = "2025-11-25"
    env: Mapping[str, str] = field(default_factory=dict)

    def client(self, number: int, *, modern: bool) -> Client:
        """One of its clients, each with the token of somebody else."""
        token = self.tokens[number % len(self.tokens)]
        made = Client(self.port, self.path, modern=modern, token=token, version=self.version)
        return made if modern else made.opened()


class Stage:
    """What a run has started: Redis, servers, and what stands behind gateways. All ends with it."""

    def __init__(self, folder: Path, cores: Cores) -> None:
        self.folder = folder
        self.cores = cores
        self._stack = contextlib.ExitStack()
        self._servers: dict[str, Server | Unavailable] = {}
        self.redis = self.own_redis("redis")

    def close(self) -> None:
        """End it all."""
        self._stack.close()

    def own_redis(self, name: str, cores: frozenset[int] | None = None) -> RedisServer:
        """Another Redis, on the cores of the load if no others are given."""
        with pinned(self.cores.load if cores is None else cores):
            redis = start_redis(self.folder / name)
        if redis.child is not None:
            self._stack.callback(redis.child.stop)
        return redis

    def launched(
        self,
        name: str,
        command: Sequence[str],
        env: Mapping[str, str] | None = None,
        *,
        cores: frozenset[int] | None = None,
    ) -> Process:
        """A process that ends with the stage, on the server's cores if no others are given."""
        process = launch(name, command, self.folder, self.cores.server if cores is None else cores, env)
        self._stack.callback(process.end)
        return process

    def server(self, name: str) -> Server:
        """A server by its name in SERVERS.

        Raises:
            Unavailable: it could not be installed or started, now or before.
        """
        if name not in self._servers:
            try:
                self._servers[name] = SERVERS[name](self)
            except (Unavailable, NotReady, httpx2.HTTPError, OSError) as error:
                self._servers[name] = Unavailable(str(error).strip().replace("\n", " · ")[-400:])
        found = self._servers[name]
        if isinstance(found, Unavailable):
            raise found
        return found

    def freeze_others(self, name: str) -> None:
        """Let no server of somebody else run but this one.

        Ours keep running, which when idle renew a heartbeat, and the small one, which stands behind gateways.
        """
        for each, server in self._servers.items():
            if isinstance(server, Server) and each != name and not each.startswith(("switchboard", "small")):
                server.process.freeze()


def answered(server: Server, *, modern: bool = False, seconds: float = READY_S) -> Server:
    """Wait for the first right answer to a call.

    Raises:
        Unavailable: there was none in time.
    """
    deadline, told = time.monotonic() + seconds, "nothing"
    while time.monotonic() < deadline:
        try:
            client = server.client(0, modern=modern)
            sent_once(server.port, client.call(server.tool, "ready", said=server.said))
        except (OSError, Unavailable) as error:
            told = str(error)
        else:
            return server
        if server.process.child.process.poll() is not None:
            raise Unavailable(f"ended while it started: {server.process.child.tail(3)}")
        time.sleep(0.02)
    raise Unavailable(f"gave no right answer in {seconds:.0f} s: {told[:300]}")


# -- ours -------------------------------------------------------------------------------------------------------------


def ours(
    stage: Stage,
    name: str,
    backends: Mapping[str, Any] | None = None,
    env: Mapping[str, str] | None = None,
    *,
    like: Server | None = None,
    redis: RedisServer | None = None,
    options: Sequence[str] = (),
    cores: frozenset[int] | None = None,
) -> Server:
    """A worker with authorization, a JSON log into a file, and rate limits on.

    With the plugin of the row's tools or, if any, with backends instead. `like`: another worker of that one's fleet.
    """
    port = free_port()
    rows = {"everything": {"enabled": False}, **({} if backends else {"bench": {"prefix": "never"}})}
    file = stage.folder / f"{name}.json"
    file.write_text(json.dumps({"plugins": rows, "mcpServers": backends or {}}))
    settings = fleet_settings(f"http://{LOOPBACK}:{port}", (redis or stage.redis).url) if like is None else like.env
    settings = {**settings, "RATE_LIMIT": PLENTY, "LOG_LEVEL": "info", "LOG_FORMAT": "json", "CONFIG_FILE": str(file)}
    settings |= {"ALLOWED_HOSTS": LOOPBACK, "SESSION_TTL": "3600"}
    settings |= {"REDIS_PREFIX": f"{name}:"} if like is None else {}
    settings |= env or {}
    settings |= {} if backends else installed(stage.folder / name, "bench", "scratch.bench.programs.tools:plugin")
    command = [COMMAND, "serve", "--host", LOOPBACK, "--port", str(port), *options]
    server = Server(name, stage.launched(name, command, settings, cores=cores), port, env=settings)
    server.tokens = like.tokens if like else tokens(server)
    return server


def tokens(server: Server, people: int = PEOPLE) -> Sequence[str]:
    """A token for each of so many users, by the real flow."""
    server.process.child.wait_until(lambda: _listens(server.port), READY_S)
    return asyncio.run(_signed_in(f"http://{LOOPBACK}:{server.port}", people))


async def _signed_in(issuer: str, people: int) -> Sequence[str]:
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        client = await PublicClient.registered(http, issuer, f"{issuer}/mcp")
        return [(await client.sign_in(f"user{number}"))["access_token"] for number in range(people)]


def _listens(port: int) -> bool:
    try:
        sent_once(port, Client(port, modern=True).ask("tools/list", status=401, fails=True), timeout=2)
    except (OSError, Unavailable):
        return False
    return True


def _limited(stage: Stage) -> Server:
    """A worker of the same fleet whose limit everybody has passed."""
    server = ours(stage, "switchboard-limited", env={"RATE_LIMIT": "1"}, like=stage.server("switchboard"))
    server.process.child.wait_until(lambda: answers(server.port, "/readyz"), READY_S)
    for number in range(PEOPLE):
        client = server.client(number, modern=True)
        is_answered(server.port, client.call(server.tool, "the one that is allowed"))
    return server


def _in_front_of(name: str, backend: Callable[[Stage], Mapping[str, Any]]) -> Callable[[Stage], Server]:
    def start(stage: Stage) -> Server:
        return answered(ours(stage, name, {"behind": {"prefix": "never", **backend(stage)}}))

    return start


def _web(stage: Stage) -> Mapping[str, Any]:
    return {"url": f"http://{LOOPBACK}:{stage.server('small').port}/mcp"}


def _child(command: Sequence[str]) -> Callable[[Stage], Mapping[str, Any]]:
    row = {"command": command[0], "args": list(command[1:]), "scope": "shared", "cwd": str(ROOT)}
    return lambda _stage: row


# -- others -----------------------------------------------------------------------------------------------------------


def _small(stage: Stage) -> Server:
    port = free_port()
    command = [sys.executable, str(PROGRAMS / "small_server.py"), str(port)]
    return answered(Server("small", stage.launched("small", command, cores=stage.cores.load), port))


def _sdk(kind: str) -> Callable[[Stage], Server]:
    def start(stage: Stage) -> Server:
        port, name = free_port(), f"sdk-{kind}"
        command = [sys.executable, "-m", "scratch.bench.programs.sdk_server", kind, str(port)]
        return answered(Server(name, stage.launched(name, command, _importable()), port))

    return start


def _importable() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


_LEFT_OUT: dict[str, str] = {}
"""Peers that this run does without, and why."""


def prepare(names: Collection[str]) -> None:
    """Install these peers of the manifest, and leave the others out of this run."""
    for name, peer in peers().items():
        _LEFT_OUT[name] = "was left out of this run"
        if name in names:
            try:
                install(peer)
                del _LEFT_OUT[name]
            except Unavailable as error:
                _LEFT_OUT[name] = str(error)


def ready(name: str) -> Peer:
    """A peer of the manifest, which was installed.

    Raises:
        Unavailable: it was not.
    """
    if name in _LEFT_OUT:
        raise Unavailable(_LEFT_OUT[name])
    return peers()[name]


def _fastmcp(name: str, *words: str) -> Callable[[Stage], Server]:
    def start(stage: Stage) -> Server:
        peer, port = ready("fastmcp"), free_port()
        rest = [f"http://{LOOPBACK}:{stage.server('small').port}/mcp"] if words == ("url",) else words[1:]
        program = [str(peer.program / "python"), str(PROGRAMS / "fastmcp_server.py")]
        process = stage.launched(name, [*program, words[0], str(port), *rest], _importable())
        return answered(Server(name, process, port))

    return start


def _contextforge(stage: Stage) -> Server:
    peer, port, key = ready("contextforge"), free_port(), secrets.token_urlsafe(40)
    home = stage.folder / "contextforge"
    env = dict.fromkeys(("JWT_SECRET_KEY", "AUTH_ENCRYPTION_SECRET", "PLATFORM_ADMIN_PASSWORD"), key)
    env |= {"BASIC_AUTH_PASSWORD": key, "DATABASE_URL": f"sqlite:///{home}.db", "CACHE_TYPE": "memory"}
    env |= {"MCPGATEWAY_ADMIN_API_ENABLED": "true", "MCPGATEWAY_UI_ENABLED": "false", "RATE_LIMITING_ENABLED": "false"}
    env |= {"AUTH_REQUIRED": "false", "ALLOW_UNAUTHENTICATED_ADMIN": "true", "TOOL_RATE_LIMIT": PLENTY}
    env |= {"SSRF_ALLOW_LOCALHOST": "true", "SSRF_ALLOW_PRIVATE_NETWORKS": "true"}
    command = [str(peer.program / "mcpgateway"), "--host", LOOPBACK, "--port", str(port)]
    process = stage.launched("contextforge", command, env)
    server = Server("contextforge", process, port, path="/mcp/", tool="behind-echo", version="2025-06-18")
    row = {"name": "behind", "url": f"http://{LOOPBACK}:{stage.server('small').port}/mcp"}
    _registered(server, row | {"transport": "STREAMABLEHTTP"})
    return answered(server)


def _registered(server: Server, row: Mapping[str, str]) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            httpx2.post(f"http://{LOOPBACK}:{server.port}/gateways", json=row, timeout=30).raise_for_status()
        except httpx2.TransportError as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"did not listen within {READY_S} s") from error
            time.sleep(0.2)
        except httpx2.HTTPStatusError as error:
            raise Unavailable(f"did not take the backend: {error.response.text[:200]}") from error
        else:
            return


def _bridge(name: str, command: Sequence[str]) -> Callable[[Stage], Server]:
    """A program that serves a child over HTTP."""

    def start(stage: Stage) -> Server:
        port, kind = free_port(), name.rsplit("-of-", 1)[0]
        peer = ready(kind)
        process = stage.launched(name, BRIDGES[kind](peer, port, command), _importable())
        path = "/mcp/" if kind == "mcp-proxy-pypi" else "/mcp"
        return answered(Server(name, process, port, path=path, version="2025-06-18"))

    return start


BRIDGES: Final[Mapping[str, Callable[[Peer, int, Sequence[str]], list[str]]]] = {
    "supergateway": lambda peer, port, command: [
        *("node", str(peer.program / "supergateway/dist/index.js"), "--stdio", " ".join(command)),
        *("--outputTransport", "streamableHttp", "--stateful", "--port", str(port), "--logLevel", "none"),
    ],
    "mcp-proxy-npm": lambda peer, port, command: [
        *("node", str(peer.program / ".bin/mcp-proxy"), "--host", LOOPBACK, "--port", str(port)),
        *("--server", "stream", "--no-eventStore", "--", *command),
    ],
    "mcp-proxy-pypi": lambda peer, port, command: [
        *(str(peer.program / "mcp-proxy"), "--host", LOOPBACK, "--port", str(port), "--pass-environment"),
        *("--log-level", "WARNING", "--", *command),
    ],
}


def _everything(stage: Stage) -> Server:
    peer, port = ready("server-everything"), free_port()
    program = peer.program / "@modelcontextprotocol/server-everything/dist/index.js"
    process = stage.launched(peer.name, ["node", str(program), "streamableHttp"], {"PORT": str(port)})
    return answered(Server(peer.name, process, port, said="Echo: {}"))


SERVERS: Final[dict[str, Callable[[Stage], Server]]] = {
    "switchboard": lambda stage: answered(ours(stage, "switchboard")),
    "switchboard-limited": _limited,
    "switchboard-web": _in_front_of("switchboard-web", _web),
    "switchboard-small": _in_front_of("switchboard-small", _child(SMALL)),
    "switchboard-sdk": _in_front_of("switchboard-sdk", _child(SDK_CHILD)),
    "small": _small,
    "sdk-json": _sdk("json"),
    "sdk-sse": _sdk("sse"),
    "fastmcp": _fastmcp("fastmcp", "serve"),
    "fastmcp-web": _fastmcp("fastmcp-web", "url"),
    "fastmcp-of-small": _fastmcp("fastmcp-of-small", "command", *SMALL),
    "fastmcp-of-sdk": _fastmcp("fastmcp-of-sdk", "command", *SDK_CHILD),
    "contextforge": _contextforge,
    "server-everything": _everything,
    **{f"{kind}-of-small": _bridge(f"{kind}-of-small", SMALL) for kind in BRIDGES},
    **{f"{kind}-of-sdk": _bridge(f"{kind}-of-sdk", SDK_CHILD) for kind in BRIDGES},
}
