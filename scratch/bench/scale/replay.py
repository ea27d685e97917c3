"""Many workers' traffic at one Redis: what a worker was heard to send is sent by ever more connections.

A connection is a worker: it sends batches, as workers do (the commands of one turn of its event loop go in one write),
and each at the pace of one busy worker. What it sends was recorded by MONITOR, with the keys as they are, so that Redis
finds what it found then. `python -m scratch.bench.scale.replay < plan.json` is one level, in a process of its own.
"""

from __future__ import annotations

import gc
import heapq
import json
import select
import shlex
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis

from scratch.bench.load import Plan
from scratch.bench.measure import AT_ONCE, loaded
from scratch.bench.rows import Contestant, echo
from scratch.bench.servers import Server, Stage
from tools.fleet.redis_server import RedisServer

HEARD: Final = 4_000
"""Commands that are recorded at most."""

PLAIN: Final = frozenset({"get", "mget", "exists", "hmget", "hgetall", "pexpire", "expire", "touch", "set", "incr"})
"""What is sent again as it was: commands that take as long the second time. Scripts are left to `cost`."""


def recorded(stage: Stage, store: RedisServer, server: Server) -> Sequence[Sequence[str]]:
    """What a worker asks of Redis for handshake calls of 32 clients."""
    plan = Contestant("", "", echo, modern=False).plan(server, AT_ONCE)
    heard: list[Sequence[str]] = []
    ready, over = threading.Event(), threading.Event()

    def listen() -> None:
        with redis.Redis.from_url(store.url) as client, client.monitor() as monitor:
            ready.set()
            for row in monitor.listen():
                words = shlex.split(row["command"]) if row.get("client_type") != "lua" else []
                if words and words[0].lower() in PLAIN:
                    heard.append(words)
                if over.is_set() or len(heard) >= HEARD:
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    ready.wait(10)
    loaded(Plan(server.port, plan, 1.0), stage.cores, server.process)
    over.set()
    with redis.Redis.from_url(store.url) as client:
        client.ping()
    listener.join(10)
    return heard


def encoded(words: Sequence[str]) -> bytes:
    """A command as it goes over the wire."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        raw = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(raw), raw))
    return b"".join(parts)


def batches(commands: Sequence[Sequence[str]], size: int) -> Sequence[bytes]:
    """The same commands, so many in a write."""
    wire = [encoded(words) for words in commands]
    return [b"".join(wire[at : at + size]) for at in range(0, len(wire) - size + 1, size)]


class Workers:
    """Connections that each send a batch at their pace, and take what comes back."""

    def __init__(self, port: int, count: int, sent: Sequence[bytes], expected: Sequence[int]) -> None:
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for each in self.sockets:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent, self.expected = sent, expected
        self.turn = [number * 7 % len(sent) for number in range(count)]
        self.waiting = [0] * count
        self.began = [0.0] * count
        self.took: list[float] = []

    def run(self, seconds: float, every: float) -> float:
        """Send for so long, each a batch every so many seconds (0: as soon as it is answered); how long it was."""
        poll, index = select.poll(), {each.fileno(): number for number, each in enumerate(self.sockets)}
        for each in self.sockets:
            poll.register(each, select.POLLIN)
        start = time.perf_counter()
        due = [(start + every * number / len(self.sockets), number) for number in range(len(self.sockets))]
        heapq.heapify(due)
        while (now := time.perf_counter()) < start + seconds:
            while due and due[0][0] <= now:
                moment, number = heapq.heappop(due)
                self._send(number, moment if every else now)
            wait = (due[0][0] - now) * 1000 if due else 50
            for descriptor, _ in poll.poll(max(0.0, min(wait, 50))):
                number = index[descriptor]
                self.waiting[number] -= len(self.sockets[number].recv(65_536))
                if self.waiting[number] <= 0:
                    now = time.perf_counter()
                    self.took.append(now - self.began[number])
                    heapq.heappush(due, (max(self.began[number] + every, 0.0) if every else now, number))
        return time.perf_counter() - start

    def _send(self, number: int, due: float) -> None:
        turn = self.turn[number] = (self.turn[number] + 1) % len(self.sent)
        self.began[number], self.waiting[number] = due, self.expected[turn]
        self.sockets[number].sendall(self.sent[turn])


def expected(port: int, sent: Sequence[bytes]) -> Sequence[int]:
    """How many bytes come back for each batch, told by a PING after it."""
    lengths = []
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        for each in sent:
            connection.sendall(each + b"*1\r\n$4\r\nPING\r\n")
            got = b""
            while not got.endswith(b"+PONG\r\n"):
                got += connection.recv(65_536)
            lengths.append(len(got) - len(b"+PONG\r\n"))
    return lengths


def level(plan: Mapping[str, Any]) -> dict[str, float]:
    """One level: so many workers, at this pace, for so long."""
    sent = [each.encode("latin-1") for each in plan["sent"]]
    workers = Workers(plan["port"], plan["workers"], sent, expected(plan["port"], sent))
    workers.run(0.3, plan["every"])
    workers.took.clear()
    cpu = time.process_time()
    seconds = workers.run(plan["seconds"], plan["every"])
    took = sorted(workers.took)
    middle, late = (took[len(took) // 2], took[int(len(took) * 0.99)]) if took else (0.0, 0.0)
    busy = (time.process_time() - cpu) / seconds
    return {"batches": len(took) / seconds, "p50": middle * 1000, "p99": late * 1000, "busy": busy}


if __name__ == "__main__":
    gc.disable()
    print(json.dumps(level(json.load(sys.stdin))), flush=True)
