"""Slow names and slow documents: who causes them has a share, and everybody else goes on."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from auth_server import StaticClient
from auth_server.settings import TrustedIssuer
from switchboard.common.breaker import FAILURES
from switchboard.common.fetch import fetcher as fetching
from switchboard.common.fetch.fetcher import Fetcher, FetchRefused
from switchboard.errors import AuthorizationUnavailable
from tests.auth.conftest import MakeWorld, Site, World

HOST = "app.example"
MANY = 40
ATTACKER, INNOCENT = "198.51.100.66", "192.0.2.1"
ELSEWHERE = tuple(f"198.51.100.{number}" for number in range(100, 100 + MANY))
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is slow here ends when it is told to, also on a busy machine."""
    monkeypatch.setattr(fetching, "TIMEOUT", 60.0)


async def ask(world: World, client_id: str, address: str) -> int:
    """The status of an authorization request from somewhere."""
    client = {"client_id": client_id, "redirect_uris": ["http://127.0.0.1:4000/cb"]}
    async with world.browser(client=(address, 1)) as http:
        return int((await http.get("/authorize", params=world.question(client, world.pkce()))).status_code)


class Names:
    """The system's resolver, with names under `slow.example` that get no answer until `let_go`."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self._go = threading.Event()
        self._real = socket.getaddrinfo

    def getaddrinfo(self, host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if str(host).endswith("slow.example"):
            self.asked.add(str(host))
            self._go.wait(60)
        return self._real("127.0.0.1", port, *more, **named)

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    found = Names()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    yield found
    found.let_go()


@pytest.fixture
def by_system(site: Site, tmp_path: Path) -> Fetcher:
    """A fetcher with the system's own resolver, to which this computer is the internet."""
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    return Fetcher(public=lambda _: True, context=context)


async def test_slow_names_of_one_source_stop_neither_other_clients_nor_other_look_ups_nor_threads(
    make_world: MakeWorld, site: Site, by_system: Fetcher, names: Names
) -> None:
    world = make_world(fetcher=by_system)
    slow = [
        asyncio.ensure_future(ask(world, f"https://{number}.slow.example/c.json", ATTACKER)) for number in range(MANY)
    ]
    refused = await asyncio.wait_for(_some(slow, MANY - fetching.LOOK_UPS_BY_SOURCE), 60)

    assert set(refused) == {503}
    assert await ask(world, site.client_id, INNOCENT) == 200
    loop = asyncio.get_running_loop()
    assert await asyncio.wait_for(loop.getaddrinfo("backend.example", 443), 60), "a backend that is named by its host"
    assert await asyncio.wait_for(asyncio.to_thread(lambda: True), 60)
    assert len(names.asked) <= fetching.LOOK_UPS_BY_SOURCE
    names.let_go()
    await asyncio.gather(*slow)


async def _some(tasks: Sequence[asyncio.Future[int]], count: int) -> list[int]:
    """What the first `count` to end gave."""
    found = []
    for task in asyncio.as_completed(tasks):
        found.append(await task)
        if len(found) == count:
            break
    return found


async def test_look_ups_that_nobody_waits_for_any_more_still_count(
    by_system: Fetcher, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.01)
    for number in range(MANY):
        with pytest.raises((AuthorizationUnavailable, FetchRefused)):
            await by_system.get(f"https://{number}.slow.example/c.json", 5_000)

    assert len(names.asked) == fetching.LOOK_UPS_BY_SOURCE


@pytest.mark.parametrize("trouble", [socket.gaierror(socket.EAI_AGAIN, "try again"), TimeoutError()])
async def test_trouble_with_looking_a_host_up_is_not_taken_for_its_silence(
    make_world: MakeWorld, site: Site, tmp_path: Path, trouble: OSError
) -> None:
    answers: list[OSError | None] = [trouble] * (FAILURES + 1) + [None]

    async def resolve(_host: str, _port: int) -> list[str]:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return ["127.0.0.1"]

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    world = make_world(fetcher=Fetcher(resolve, lambda _: True, context))
    statuses = [await ask(world, site.client_id, INNOCENT) for _ in range(FAILURES + 2)]

    assert statuses == [503] * (FAILURES + 1) + [200], "try again, as nobody knows whether there is such a client"


async def test_a_host_name_that_cannot_be_one_is_refused(make_world: MakeWorld, by_system: Fetcher) -> None:
    world = make_world(fetcher=by_system)
    assert await ask(world, f"https://{'a' * 64}.example/c.json", INNOCENT) == 400


class SlowSite:
    """The small https site, some pages of which are sent only when `let_go` is called."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._go = asyncio.Event()
        self.held = 0
        self.asked = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        if b"/slow" in request:
            self.held += 1
            self.asked.set()
            await self._go.wait()
        again = asyncio.StreamReader()
        again.feed_data(request)
        await self._site.serve(again, writer)

    def address(self, page: str) -> str:
        return f"https://{HOST}:{self._site.port}/{page}"

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
async def slow_site(site: Site, tmp_path: Path) -> AsyncIterator[SlowSite]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    found = SlowSite(site)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    site.describe()
    async with server:
        yield found
        found.let_go()


async def test_slow_documents_of_one_source_do_not_starve_others_even_of_the_same_host(
    make_world: MakeWorld, site: Site, slow_site: SlowSite, fetcher: Fetcher
) -> None:
    world = make_world(fetcher=fetcher)
    slow = [asyncio.ensure_future(ask(world, slow_site.address(f"slow/{n}"), ATTACKER)) for n in range(MANY)]
    refused = await asyncio.wait_for(_some(slow, MANY - fetching.BY_SOURCE), 60)

    assert set(refused) == {503}
    assert await ask(world, site.client_id, INNOCENT) == 200
    assert slow_site.held <= fetching.BY_SOURCE
    slow_site.let_go()
    await asyncio.gather(*slow)


async def test_slow_documents_of_one_host_leave_room_for_other_hosts(
    site: Site, slow_site: SlowSite, fetcher: Fetcher
) -> None:
    def of_source(number: int, url: str) -> asyncio.Future[Any]:
        fetching.source.set(ELSEWHERE[number])
        return asyncio.ensure_future(fetcher.get(url, 5_000))

    slow = [of_source(number, slow_site.address(f"slow/{number}")) for number in range(MANY)]
    ended, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
    assert isinstance(ended.pop().exception(), AuthorizationUnavailable)
    spared = of_source(0, "https://other.example/c.json")  # which resolves to what is not public

    with pytest.raises(FetchRefused):
        await spared
    slow_site.let_go()
    found = await asyncio.gather(*slow, return_exceptions=True)
    assert sum(isinstance(one, AuthorizationUnavailable) for one in found) == MANY - fetching.BY_HOST


async def test_a_document_that_is_under_way_is_fetched_once_for_all_who_ask(
    make_world: MakeWorld, site: Site, slow_site: SlowSite, fetcher: Fetcher
) -> None:
    """Many people at once begin to use one application."""
    world = make_world(fetcher=fetcher)
    client_id = slow_site.address("slow.json")
    site.describe(client_id=client_id)
    asked = [asyncio.ensure_future(ask(world, client_id, address)) for address in ELSEWHERE]
    await slow_site.asked.wait()
    slow_site.let_go()

    assert await asyncio.gather(*asked) == [200] * MANY
    assert slow_site.held == 1


async def test_nobody_can_close_a_host_to_its_clients_by_asking_for_its_slow_pages(
    site: Site, slow_site: SlowSite, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT", 0.5)
    pages = (slow_site.address(f"slow/{number}") for number in range(FAILURES))
    slow = await asyncio.gather(*(_from(ELSEWHERE[n], fetcher, page) for n, page in enumerate(pages)))
    monkeypatch.setattr(fetching, "TIMEOUT", 60.0)

    assert {type(one) for one in slow} == {FetchRefused}
    assert (await fetcher.get(site.client_id, 5_000)).document["client_name"] == "App"


async def _from(address: str, fetcher: Fetcher, page: str) -> Exception | None:
    fetching.source.set(address)
    try:
        await fetcher.get(page, 5_000)
    except FetchRefused as refused:
        return refused
    return None


async def test_the_keys_of_a_trusted_issuer_are_fetched_while_strangers_have_used_up_all_shares(
    make_world: MakeWorld, site: Site, tmp_path: Path
) -> None:
    go = asyncio.Event()

    async def resolve(host: str, _port: int) -> list[str]:
        if host != HOST:
            await go.wait()
        return ["127.0.0.1"]

    fetcher = Fetcher(resolve, lambda _: True, ssl.create_default_context(cafile=str(tmp_path / "cert.pem")))
    key = ECKey.generate_key("P-256", {"kid": "idp-1"})
    site.body = json.dumps({"keys": [key.as_dict(private=False)]}).encode()
    agent = StaticClient(id="agent", secret="agent secret", grant_types=(JWT_BEARER,), scope="mcp:tools")
    issuer = TrustedIssuer(issuer="https://idp.example", jwks_uri=f"https://{HOST}:{site.port}/jwks")
    world = make_world(clients=(agent,), trusted_issuers=(issuer,), fetcher=fetcher)
    slow = [
        asyncio.ensure_future(ask(world, f"https://{number}-{address}.example/c.json", address))
        for number in range(2)
        for address in ELSEWHERE
    ]
    refused = await asyncio.wait_for(_some(slow, 1), 60)

    claims = {
        "iss": "https://idp.example",
        "sub": "u-17",
        "aud": "http://localhost:3001",
        "client_id": "agent",
        "resource": "http://localhost:3232/mcp",
        "scope": "mcp:tools",
        "exp": 1_800_000_300,
        "iat": 1_800_000_000,
        "jti": "jag-1",
    }
    made = jwt.encode({"alg": "ES256", "kid": "idp-1", "typ": "oauth-id-jag+jwt"}, claims, key)
    answer = await world.token({"grant_type": JWT_BEARER, "assertion": made}, auth=("agent", "agent secret"))

    assert refused == [503]
    assert answer.status_code == 200
    go.set()
    await asyncio.gather(*slow)
