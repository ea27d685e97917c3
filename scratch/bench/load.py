"""The load: a process that sends requests over keep-alive connections, one at a time on each, and checks each answer.

    python -m scratch.bench.load < plan.json

It says `begun` when the warm-up is over, and ends with one line of JSON, a `Load`. An answer counts if its status is
the expected one, if it holds the bytes it must hold (the text that this very request had sent), and none that tell of
an error. Everything else, a connection that ended too early also, is wrong. It runs on bare sockets in one thread,
because it has to be faster than what it measures: `busy` is the share of a core that it used, and near 1 it is the load
that was measured, not the server. It can do some 40,000 requests a second.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

WRONG: Final = (b'"isError":true', b'"isError": true', b'"error":')
END_OF_HEAD: Final = b"\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
UNTIL_CLOSED: Final = -1
CHUNKED: Final = -2


@dataclass(frozen=True)
class Ask:
    """One request as it is sent, and what its answer must be."""

    sent: str
    """The bytes, as latin-1."""

    holds: tuple[str, ...] = ()
    status: int = 200
    fails: bool = False
    """Whether the answer is meant to tell of an error."""

    passes: int = 0
    """Another status, whose answers are neither counted nor wrong."""


@dataclass(frozen=True)
class Plan:
    """What to send where, and for how long."""

    port: int
    connections: tuple[tuple[Ask, ...], ...]
    """For each connection the requests that it sends, in turn."""

    seconds: float
    warm_seconds: float = 0.5
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class Load:
    """What came of it."""

    answered: int = 0
    wrong: int = 0
    example: str = ""
    """The beginning of the first wrong answer."""

    seconds: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    busy: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0


def decoded(found: dict[str, Any]) -> Plan:
    """A plan out of JSON."""
    asks = tuple(
        tuple(Ask(**{**ask, "holds": tuple(ask["holds"])}) for ask in connection)
        for connection in found.pop("connections")
    )
    return Plan(connections=asks, **found)


class Ready:
    """An `Ask`, ready to be sent again and again."""

    __slots__ = ("fails", "holds", "passes", "sent", "status", "usual")

    def __init__(self, ask: Ask) -> None:
        self.sent = ask.sent.encode("latin-1")
        self.status = b"HTTP/1.1 %d" % ask.status
        self.holds = tuple(each.encode() for each in ask.holds)
        self.fails = ask.fails
        self.passes = b"HTTP/1.1 %d" % ask.passes
        self.usual = 0
        """How long its last answer was: one of the same length that came at once is not taken apart again."""

    def is_answered_by(self, got: bytes) -> bool:
        """Whether an answer is what it must be."""
        if not got.startswith(self.status):
            return False
        for each in self.holds:
            if each not in got:
                return False
        return self.fails or not (WRONG[0] in got or WRONG[1] in got or WRONG[2] in got)


class Connection:
    """One client."""

    __slots__ = ("address", "ask", "asks", "at", "got", "length", "recv", "send", "socket", "turn")

    def __init__(self, asks: Sequence[Ask], address: tuple[str, int]) -> None:
        self.asks = [Ready(ask) for ask in asks]
        self.address = address
        self.ask, self.turn, self.at = self.asks[0], 0, 0.0
        self.got, self.length = b"", 0
        self.connect()

    def connect(self) -> None:
        """Open it, and send."""
        self.socket = socket.create_connection(self.address, timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)  # a time limit would cost a poll() before each call
        self.recv, self.send = self.socket.recv, self.socket.send
        self.next(time.perf_counter())

    def next(self, now: float) -> None:
        """Send the next request."""
        self.turn = (self.turn + 1) % len(self.asks)
        self.ask, self.at = self.asks[self.turn], now
        self.got, self.length = b"", 0
        self.send(self.ask.sent)  # far smaller than the socket's buffer

    def complete(self, data: bytes) -> bool:
        """Take what was received; whether the answer is all there."""
        self.got += data
        if not self.length:
            end = self.got.find(END_OF_HEAD)
            if end < 0:
                return False
            self.length = _length(self.got[:end].lower(), end + len(END_OF_HEAD))
        if self.length > 0:
            return len(self.got) >= self.length
        return self.length == CHUNKED and self.got.endswith(LAST_CHUNK)

    @property
    def ends(self) -> bool:
        """Whether the server will close the connection."""
        return b"connection: close" in self.got[: self.got.find(END_OF_HEAD)].lower()


def _length(head: bytes, size: int) -> int:
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        return size + int(head[at + 17 :].split(b"\r\n", 1)[0])
    return CHUNKED if b"\r\ntransfer-encoding: chunked" in head else UNTIL_CLOSED


class Clients:
    """All of them, and what was counted."""

    def __init__(self, plan: Plan) -> None:
        self._poll = select.poll()
        self._open: dict[int, Connection] = {}
        self.took: list[float] = []
        self.wrong, self.example = 0, ""
        for asks in plan.connections:
            self._watch(Connection(asks, (plan.host, plan.port)))

    def _watch(self, connection: Connection) -> None:
        self._open[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.POLLIN)

    def spin(self, end: float) -> None:
        """Send and receive until then. What is usual stands here, in one loop: each call would cost a microsecond."""
        clock, poll, connections, took = time.perf_counter, self._poll.poll, self._open, self.took
        while (now := clock()) < end:
            for number, _ in poll(min(200.0, (end - now) * 1000)):
                connection = connections[number]
                try:
                    data = connection.recv(65_536)  # more than 128 KiB would be mapped anew each time
                except OSError:
                    data = b""
                ask = connection.ask
                if len(data) == ask.usual and not connection.got and ask.is_answered_by(data):
                    now = clock()
                    took.append(now - connection.at)
                    connection.next(now)
                else:
                    self._unusual(connection, data)

    def forget(self) -> None:
        """Begin to count."""
        self.took.clear()
        self.wrong, self.example = 0, ""

    def _unusual(self, connection: Connection, data: bytes) -> None:
        if data and not connection.complete(data):
            return
        now, got, ends = time.perf_counter(), connection.got, not data or connection.ends
        whole = bool(data) or (connection.length == UNTIL_CLOSED and bool(got))
        if whole and connection.ask.is_answered_by(got):
            self.took.append(now - connection.at)
            connection.ask.usual = 0 if ends or connection.length == UNTIL_CLOSED else len(got)
        elif not whole or not got.startswith(connection.ask.passes):
            self.wrong += 1
            self.example = self.example or (got[:1000].decode("latin-1") or "the connection ended")
        if ends:
            self._again(connection)
        else:
            connection.next(now)

    def _again(self, connection: Connection) -> None:
        del self._open[connection.socket.fileno()]
        self._poll.unregister(connection.socket)
        connection.socket.close()
        connection.connect()
        self._watch(connection)


def run(plan: Plan) -> Load:
    """Send it all, and count."""
    clients = Clients(plan)
    clients.spin(time.perf_counter() + plan.warm_seconds)
    print("begun", flush=True)
    clients.forget()
    began, cpu = time.perf_counter(), time.process_time()
    clients.spin(began + plan.seconds)
    seconds, busy = time.perf_counter() - began, time.process_time() - cpu
    took = sorted(clients.took)
    return Load(
        answered=len(took),
        wrong=clients.wrong,
        example=clients.example,
        seconds=seconds,
        p50_ms=_quantile(took, 0.5) * 1000,
        p99_ms=_quantile(took, 0.99) * 1000,
        busy=busy / seconds,
    )


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def main() -> None:
    """Read a plan, and print what came of it."""
    plan = decoded(json.load(sys.stdin))
    gc.disable()
    print(json.dumps(asdict(run(plan))), flush=True)


if __name__ == "__main__":
    main()
