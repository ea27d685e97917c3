"""Client ID Metadata Documents, and the fetcher that must not be turned on the network it runs in."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auth_server.clients.client_id_metadata import is_document_id, lifetime
from switchboard.common.breaker import FAILURES, PAUSE_S, Breakers
from switchboard.common.fetch.fetcher import Fetcher, FetchRefused
from switchboard.common.fetch.public_addresses import is_public
from switchboard.errors import AuthorizationUnavailable
from tests.auth.conftest import MakeWorld, Site, World

HOST = "app.example"


@pytest.fixture
def document_world(make_world: Callable[..., Any], fetcher: Fetcher) -> Any:
    return make_world(fetcher=fetcher)


async def ask(world: World, client_id: str, redirect: str = "http://127.0.0.1:4000/cb") -> Any:
    """An authorization request."""
    client = {"client_id": client_id, "redirect_uris": [redirect]}
    async with world.browser() as http:
        return await http.get("/authorize", params=world.question(client, world.pkce()))


async def test_a_client_is_known_by_its_document_and_can_sign_in(document_world: Any, site: Site) -> None:
    """AUTH.md row 17."""
    client = {"client_id": site.client_id, "redirect_uris": ["http://127.0.0.1:4000/cb"]}

    page = await ask(document_world, site.client_id)
    tokens = await document_world.tokens(client)

    assert HOST in page.text
    claims = await document_world.server.introspect_token(tokens["access_token"])
    assert claims["client_id"] == site.client_id
    assert len(site.requests) == 1, "the document was cached"
    assert f"Host: {HOST}:{site.port}" in site.requests[0], "the name was asked, at the address that was checked"


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "https://other.example/client.json"},
        {"client_id": None},
        {"client_name": None},
        {"redirect_uris": None},
        {"redirect_uris": ["http://evil.example/cb"]},
        {"client_secret": "shared"},
        {"token_endpoint_auth_method": "client_secret_basic"},
    ],
)
async def test_a_document_that_is_not_about_this_client_is_refused(
    document_world: Any, site: Site, changes: dict[str, Any]
) -> None:
    """AUTH.md row 17."""
    site.describe(**changes)

    response = await ask(document_world, site.client_id)

    assert response.status_code == 400
    assert "location" not in response.headers


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        ("302 Found", "Location: https://app.example/\r\n", b""),
        ("404 Not Found", "", b"{}"),
        ("500 No", "", b"{}"),
        ("200 OK", "Content-Encoding: gzip\r\n", b"{}"),
        ("200 OK", "", b" " * 5121),
        ("200 OK", "", b"[]"),
        ("200 OK", "", b"no"),
        ("200 OK", "", b"[" * 5000),
    ],
)
async def test_an_answer_that_is_no_small_json_object_is_refused_and_not_remembered(
    document_world: Any, site: Site, status: str, headers: str, body: bytes
) -> None:
    """AUTH.md row 17: errors uncached, no redirects, 5 KB."""
    site.status, site.headers, site.body = status, headers, body
    assert (await ask(document_world, site.client_id)).status_code == 400
    site.status, site.headers = "200 OK", ""
    site.describe()

    assert (await ask(document_world, site.client_id)).status_code == 200


async def test_a_certificate_for_another_name_is_refused(site: Site, tmp_path: Path) -> None:
    """AUTH.md row 17: the address is pinned, the name still has to be proven."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    fetcher = Fetcher(resolve, lambda _: True, context)

    with pytest.raises(FetchRefused):
        await fetcher.get(f"https://other.example:{site.port}/client.json", 5000)


@pytest.mark.parametrize("found", [["127.0.0.1"], ["127.0.0.1", "93.184.216.34"], ["::1", "127.0.0.1"]])
async def test_a_host_with_any_private_address_is_not_connected_to(
    site: Site, tmp_path: Path, found: list[str]
) -> None:
    """AUTH.md row 17: no private, loopback or link-local address after resolution."""

    async def resolve(host: str, port: int) -> list[str]:
        return found

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with pytest.raises(FetchRefused):
        await Fetcher(resolve, context=context).get(site.client_id, 5000)
    assert site.requests == [], "everything but the check would have let it through"


async def test_the_usual_fetcher_does_not_reach_loopback(site: Site) -> None:
    """AUTH.md row 17, with the system's own resolver."""
    for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"):
        with pytest.raises(FetchRefused):
            await Fetcher().get(f"https://{host}:{site.port}/client.json", 5000)
    assert site.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),  # noqa: S104
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "168.63.129.16"),
        *("::", "::1", "::127.0.0.1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "ff0e::1"),
        *("::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:db8::1"),
        str(ipaddress.IPv6Address("2001::") + (0xFFFFFFFF ^ int(ipaddress.IPv4Address("10.0.0.1")))),
        *("192.0.0.8", "192.0.0.254", "192.88.99.1", "203.0.113.7", "198.51.100.7"),
        *("fec0::1", "feff::1", "100::1", "100:0:0:1::1", "5f00::1", "3fff::1", "4000::1", "2001:2::1", "2001:10::1"),
        *("2001:20::1", "::8.8.8.8", "::ffff:0:8.8.8.8", "::ffff:0:127.0.0.1", "2606:4700::5efe:10.0.0.1"),
        *("2606:4700::200:5efe:127.0.0.1", "64:ff9b::168.63.129.16", "2002:a83f:8110::1"),
        "not an address",
    ],
)
def test_these_addresses_are_not_public(address: str) -> None:
    """AUTH.md row 17: all address forms."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "192.31.196.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_these_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        ("https://app.example/client.json", True),
        ("https://app.example:8443/oauth/client?v=1", True),
        ("https://app.example", False),
        ("https://app.example/", False),
        ("http://app.example/client.json", False),
        ("https://user@app.example/client.json", False),
        ("https://app.example/a/../client.json", False),
        ("https://app.example/a/%2e%2e/client.json", False),
        ("https://app.example/client.json#x", False),
        ("https://app.example\\@evil.example/c", False),
        ("https://app.example:x/c", False),
        ("https:///c", False),
        ("c_registered", False),
    ],
)
def test_only_plain_https_addresses_with_a_path_are_documents(client_id: str, expected: bool) -> None:
    """AUTH.md row 17."""
    assert is_document_id(client_id) is expected


@pytest.mark.parametrize(
    ("control", "seconds"),
    [
        ("", 300),
        ("max-age=10", 300),
        ("public, max-age=3600", 3600),
        ("max-age=999999", 86_400),
        ("no-store, max-age=3600", 300),
        ("no-cache", 300),
        ("no-cache, max-age=7200", 300),
        ("max-age=7200, no-store", 300),
        ("s-maxage=9", 300),
    ],
)
def test_caching_follows_the_headers_between_five_minutes_and_a_day(control: str, seconds: int) -> None:
    """AUTH.md row 17."""
    assert lifetime({"cache-control": control}) == seconds


@pytest.fixture
def impatient(site: Site, tmp_path: Path) -> tuple[Fetcher, Any]:
    """A fetcher to which this computer is the internet, and its clock."""
    time = SimpleNamespace(now=0.0)

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    return Fetcher(resolve, lambda _: True, context, Breakers(lambda: time.now)), time


async def test_a_host_that_does_not_answer_is_left_alone_for_a_moment_and_others_are_not(
    site: Site, impatient: tuple[Fetcher, Any], unused_tcp_port: int
) -> None:
    fetcher, time = impatient
    for _ in range(FAILURES):
        with pytest.raises(FetchRefused):
            await fetcher.get(f"https://silent.example:{unused_tcp_port}/client.json", 5_000)
    with pytest.raises(AuthorizationUnavailable):
        await fetcher.get(f"https://silent.example:{unused_tcp_port}/other.json", 5_000)
    assert (await fetcher.get(site.client_id, 5_000)).document["client_name"] == "App"
    time.now += PAUSE_S
    with pytest.raises(FetchRefused):
        await fetcher.get(f"https://silent.example:{unused_tcp_port}/client.json", 5_000)


async def test_nobody_can_close_a_host_to_its_clients_by_asking_for_its_wrong_pages(
    site: Site, impatient: tuple[Fetcher, Any]
) -> None:
    fetcher, _ = impatient
    site.status = "404 Not Found"
    for _ in range(FAILURES + 1):
        with pytest.raises(FetchRefused):
            await fetcher.get(site.client_id.replace("client", "none"), 5_000)
    site.status = "200 OK"
    assert (await fetcher.get(site.client_id, 5_000)).document["client_name"] == "App"


async def test_a_client_whose_host_is_silent_is_asked_to_try_again(
    make_world: MakeWorld, site: Site, impatient: tuple[Fetcher, Any], unused_tcp_port: int
) -> None:
    world = make_world(fetcher=impatient[0])
    client = {"client_id": f"https://silent.example:{unused_tcp_port}/c.json", "redirect_uris": ["http://127.0.0.1/cb"]}
    async with world.browser() as http:
        asked = world.question(client, world.pkce())
        statuses = [(await http.get("/authorize", params=asked)).status_code for _ in range(FAILURES + 1)]
    assert statuses == [400] * FAILURES + [503]
