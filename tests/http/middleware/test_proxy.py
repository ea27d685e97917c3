from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send

from switchboard.http.middleware.proxy import TrustedProxies

PROXY = "10.0.0.1"
TRUSTED = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


async def seen(headers: list[tuple[str, str]], *, peer: str = PROXY, kind: str = "http") -> Scope:
    """The scope that the application gets for a request from `peer`."""
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(_: Message) -> None:
        return

    raw = [(b"host", b"inner:3232"), *((name.lower().encode(), value.encode("latin-1")) for name, value in headers)]
    scheme = "ws" if kind == "websocket" else "http"
    scope = {"type": kind, "path": "/", "client": (peer, 4711), "scheme": scheme, "headers": raw}
    await TrustedProxies(app, TRUSTED)(scope, receive, send)
    return found[0]


def host(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"host"]


async def test_a_trusted_proxy_says_who_the_client_is() -> None:
    scope = await seen(
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "mcp.example.com")]
    )
    assert scope["client"][0] == "203.0.113.7"
    assert scope["scheme"] == "https"
    assert host(scope) == [b"mcp.example.com"]


async def test_anybody_else_says_nothing_about_it() -> None:
    scope = await seen(
        [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https"), ("Forwarded", "for=203.0.113.7")],
        peer="192.0.2.1",
    )
    assert scope["client"] == ("192.0.2.1", 4711)
    assert scope["scheme"] == "http"
    assert host(scope) == [b"inner:3232"]


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7", "203.0.113.7"),
        ("1.1.1.1, 203.0.113.7, 10.0.0.2", "203.0.113.7"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("2001:db8::1, fd00::2", "2001:db8::1"),
        ("203.0.113.7:5000", "203.0.113.7"),
        ("[2001:db8::1]:5000", "2001:db8::1"),
        ("not an address, 10.0.0.2", "10.0.0.2"),
        ("unknown", PROXY),
        ("", PROXY),
        (",,", PROXY),
    ],
)
async def test_the_chain_is_read_from_the_right_as_far_as_it_can_be_trusted(chain: str, client: str) -> None:
    assert (await seen([("X-Forwarded-For", chain)]))["client"][0] == client


async def test_several_header_lines_are_one_chain() -> None:
    scope = await seen([("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-For", "203.0.113.7")])
    assert scope["client"][0] == "203.0.113.7"


@pytest.mark.parametrize(
    ("header", "client", "scheme", "name"),
    [
        ("for=203.0.113.7;proto=https;host=mcp.example.com", "203.0.113.7", "https", b"mcp.example.com"),
        ('For="[2001:db8::1]:4711";Proto=HTTPS', "2001:db8::1", "https", b"inner:3232"),
        ("for=1.1.1.1;proto=https, for=203.0.113.7;proto=http", "203.0.113.7", "http", b"inner:3232"),
        ('for="_hidden, really";proto=https', PROXY, "http", b"inner:3232"),
        ("for=_obfuscated", PROXY, "http", b"inner:3232"),
        ("nonsense", PROXY, "http", b"inner:3232"),
    ],
)
async def test_the_standard_header_is_understood(header: str, client: str, scheme: str, name: bytes) -> None:
    scope = await seen([("Forwarded", header)])
    assert (scope["client"][0], scope["scheme"], host(scope)) == (client, scheme, [name])


async def test_the_x_header_wins_over_the_standard_one() -> None:
    scope = await seen([("Forwarded", "for=1.1.1.1"), ("X-Forwarded-For", "203.0.113.7")])
    assert scope["client"][0] == "203.0.113.7"


async def test_a_websocket_keeps_its_kind_of_scheme() -> None:
    scope = await seen([("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")], kind="websocket")
    assert scope["scheme"] == "wss"


@pytest.mark.parametrize("value", ["javascript", "https evil", ""])
async def test_a_scheme_that_is_none_is_ignored(value: str) -> None:
    assert (await seen([("X-Forwarded-Proto", value)]))["scheme"] == "http"


async def test_an_impossible_host_is_ignored() -> None:
    assert host(await seen([("X-Forwarded-Host", "a b/c")])) == [b"inner:3232"]


async def test_an_ipv4_address_in_ipv6_clothes_is_recognized() -> None:
    assert (await seen([("X-Forwarded-For", "203.0.113.7")], peer="::ffff:10.0.0.1"))["client"][0] == "203.0.113.7"


text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=60)


@given(st.lists(st.tuples(st.sampled_from(["X-Forwarded-For", "Forwarded", "X-Forwarded-Host"]), text), max_size=4))
async def test_no_header_makes_it_fail(headers: list[tuple[str, str]]) -> None:
    scope = await seen(headers)
    assert len(host(scope)) == 1
    assert scope["client"][0]
