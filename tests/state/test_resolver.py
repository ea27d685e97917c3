"""Looking up names: bounded, and never in the way of other look-ups."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from auth_server import __main__ as standalone
from switchboard.cli.processes.serving import uvicorn_config
from switchboard.common.fetch.shares import Shares
from switchboard.common.resolver import AT_ONCE, Busy, Loop, Resolver, by_system
from switchboard.settings import load_settings


class Servers:
    """A system's resolver: names under `slow.example` have an answer once `let_go` is called."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._go = threading.Event()
        self._changed = threading.Condition()

    def look_up(self, host: str, family: int, kind: int, proto: int, flags: int) -> list[tuple[Any, ...]]:
        with self._changed:
            self.asked.append(host)
            self._changed.notify_all()
        if host.endswith("slow.example"):
            self._go.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.1", 0))]

    async def has_been_asked(self, times: int) -> None:
        def wait() -> bool:
            with self._changed:
                return self._changed.wait_for(lambda: len(self.asked) >= times, 60)

        assert await asyncio.to_thread(wait)

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def servers() -> Iterator[Servers]:
    found = Servers()
    yield found
    found.let_go()


async def test_a_source_has_its_share_of_look_ups_until_they_have_really_ended(servers: Servers) -> None:
    shares = Shares(8, source=2)
    resolver = Resolver(shares, servers.look_up)
    for number in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await resolver.find(f"{number}.slow.example", source="one")

    with pytest.raises(Busy):
        await resolver.find("quick.example", source="one")
    assert (await resolver.find("quick.example", source="other"))[0][4] == ("192.0.2.1", 0)

    servers.let_go()
    for number in range(2):  # they are still under way, or have just ended
        await resolver.find(f"{number}.slow.example", source="other")
    assert shares.taken == 0
    assert (await resolver.find("quick.example", source="one"))[0][4] == ("192.0.2.1", 0)


async def test_all_sources_together_have_a_bounded_number_of_look_ups(servers: Servers) -> None:
    resolver = Resolver(Shares(5, source=2), servers.look_up)
    asked = [resolver.find(f"{number}.slow.example", source=f"source {number}") for number in range(12)]
    waiting = asyncio.gather(*asked, return_exceptions=True)
    await servers.has_been_asked(5)
    servers.let_go()
    found = await waiting
    assert [isinstance(one, Busy) for one in found] == [False] * 5 + [True] * 7
    assert len(servers.asked) == 5


async def test_a_host_is_looked_up_once_however_many_wait_and_however_it_is_written(servers: Servers) -> None:
    resolver = Resolver(Shares(1), servers.look_up)
    names = ("app.slow.example", "APP.slow.example", "app.slow.example.")
    waiting = asyncio.gather(*(resolver.find(name, source=name) for name in names))
    await servers.has_been_asked(1)
    servers.let_go()
    assert len(await waiting) == 3
    assert servers.asked == ["app.slow.example"]


async def test_who_stops_waiting_takes_nothing_from_others_who_wait_for_the_same(servers: Servers) -> None:
    resolver = Resolver(Shares(1), servers.look_up)
    one, other = (asyncio.ensure_future(resolver.find("app.slow.example")) for _ in range(2))
    await servers.has_been_asked(1)
    one.cancel()
    servers.let_go()
    assert await other
    assert one.cancelled()


@pytest.mark.parametrize("host", ["a" * 64 + ".example", ".example", "a..example", "\udc80.example"])
def test_what_cannot_be_a_host_name_has_no_address(host: str) -> None:
    with pytest.raises(socket.gaierror):
        by_system(host, 0, 0, 0, 0)


@pytest.fixture
def blocked(monkeypatch: pytest.MonkeyPatch, servers: Servers) -> Servers:
    """The system's resolver of this process has slow names too."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
        if str(host).endswith("slow.example"):
            servers.look_up(host, family, type, proto, flags)
        return real("127.0.0.1", port, family, type, proto, flags)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return servers


def test_slow_names_stop_neither_other_names_nor_other_work_in_threads(blocked: Servers) -> None:
    async def story() -> Any:
        loop = asyncio.get_running_loop()
        slow = [asyncio.ensure_future(loop.getaddrinfo(f"{n}.slow.example", 443)) for n in range(AT_ONCE - 1)]
        await blocked.has_been_asked(AT_ONCE - 1)
        found = await loop.getaddrinfo("quick.example", 443, type=socket.SOCK_STREAM)
        blocked.let_go()
        await asyncio.gather(*slow)
        return found

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert [one[4] for one in runner.run(story())] == [("127.0.0.1", 443)]


def test_the_worker_and_the_authorization_server_run_on_that_loop() -> None:
    async def nothing(*_: Any) -> None: ...

    factory: Callable[[], Any] | None = uvicorn_config(nothing, load_settings(None)).get_loop_factory()
    assert factory is Loop
    assert vars(standalone)["Loop"] is Loop


def test_a_process_ends_while_a_name_is_being_looked_up() -> None:
    story = """
import asyncio, threading
from switchboard.common.resolver import Resolver
from switchboard.common.fetch.shares import Shares

async def main():
    resolver = Resolver(Shares(1), lambda *_: threading.Event().wait() and [])
    try:
        async with asyncio.timeout(0):
            await resolver.find("slow.example")
    except TimeoutError:
        print("left")

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", story], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("left\n", "")
