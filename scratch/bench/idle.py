"""What is open and does nothing: streams on one worker, and sessions without one."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import redis

from scratch.bench.install import Unavailable
from scratch.bench.measure import Pace
from scratch.bench.messages import Client
from scratch.bench.servers import SERVERS, Server, Stage, ours
from scratch.bench.servers import answered as ready
from tools.fleet.children import LOOPBACK

OPENING_S: Final = 150
"""Seconds after which no more streams of a kind are opened."""

WARM: Final = 0.2
"""The share of streams after which memory is looked at the first time: what a worker needs once is in it."""

SESSIONS: Final = 3_000
OF_OTHERS: Final = 1_000


@dataclass(frozen=True)
class Opened:
    """Streams of one kind."""

    streams: int
    bytes_each: float
    alive: int
    seconds: float


def handshake(client: Client) -> bytes:
    """A session's standalone stream."""
    return client.opened().stream()


def listen(client: Client) -> bytes:
    """A modern client's `subscriptions/listen`."""
    asking = replace(client, modern=True)
    return asking.ask("subscriptions/listen", {"notifications": {"toolsListChanged": True}}).sent.encode("latin-1")


def opened(server: Server, request: Callable[[Client], bytes], streams: int) -> Opened:
    """Open so many, and see what each adds to the process.

    Raises:
        Unavailable: one was refused.
    """
    held: list[socket.socket] = []
    began, at = time.monotonic(), (0, 0)
    try:
        for number in range(streams):
            held.append(stream(server, request, number))
            if number == int(streams * WARM):
                time.sleep(1)
                at = number + 1, server.process.memory
            if time.monotonic() - began > OPENING_S:
                break
        took = time.monotonic() - began
        time.sleep(2)
        more = len(held) - at[0]
        each = (server.process.memory - at[1]) / more if more > 0 else 0.0
        return Opened(len(held), each, sum(map(_is_open, held)), took)
    finally:
        for one in held:
            one.close()


def stream(server: Server, request: Callable[[Client], bytes], number: int) -> socket.socket:
    """Open one.

    Raises:
        Unavailable: it was refused.
    """
    token = server.tokens[number % len(server.tokens)]
    sent = request(Client(server.port, server.path, token=token))
    opening = socket.create_connection((LOOPBACK, server.port), 30)
    opening.sendall(sent)
    got = opening.recv(4096)
    if not got.startswith(b"HTTP/1.1 200"):
        opening.close()
        raise Unavailable(f"stream {number + 1} got {got[:200].decode('latin-1')!r}")
    return opening


def _is_open(stream: socket.socket) -> bool:
    stream.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while got := stream.recv(65_536):
            if got.endswith(b"0\r\n\r\n"):
                return False
        return False
    return True


def sessions(stage: Stage, server: Server, count: int) -> dict[str, float]:
    """Sessions without a stream: what each adds to the worker, and to Redis."""
    for number in range(200):
        server.client(number, modern=False)
    before = server.process.memory
    for number in range(count):
        server.client(number, modern=False)
    grown = server.process.memory - before
    with redis.Redis.from_url(stage.redis.url) as client:
        keys = list(client.scan_iter(f"{server.name}:*session:{{*", count=1000))
        asking = client.pipeline(transaction=False)
        for key in keys:
            asking.memory_usage(key, samples=0)
        used = sum(each or 0 for each in asking.execute())
    return {"sessions": count, "worker_bytes": grown / count, "redis_bytes": used / (count + 201)}


def measured(stage: Stage, pace: Pace, streams: int) -> dict[str, Any]:
    """Each kind on a worker of its own, ours and the SDK's."""
    _allow_descriptors(streams + 500)
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    tries: tuple[tuple[str, str, Callable[[Client], bytes], int], ...] = (
        ("Switchboard, session's stream", "switchboard", handshake, streams),
        ("Switchboard, listen stream", "switchboard", listen, streams),
        ("SDK, session's stream", "sdk-sse", handshake, OF_OTHERS),
        ("SDK, listen stream", "sdk-sse", listen, OF_OTHERS),
    )
    for number, (name, kind, request, count) in enumerate(tries):
        if pace.is_over:
            break
        server = None
        try:
            if kind == "switchboard":
                server = ready(ours(stage, f"switchboard-idle{number}"))
                if number == 0:
                    found["sessions"] = sessions(stage, server, min(SESSIONS, streams))
            else:
                server = SERVERS[kind](stage)
            got = opened(server, request, count)
            found[name] = {**got.__dict__}
            print(f"    {name}: {got}", flush=True)
        except (Unavailable, OSError) as error:
            missing[name] = str(error)
        finally:
            if server is not None:
                server.process.end()
    return {"idle": found, "missing": missing}


def _allow_descriptors(count: int) -> None:
    """For this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard) if hard > 0 else count, hard))
