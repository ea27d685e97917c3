"""What browsers and links carry: signed for one purpose, until a time, by any key of the fleet."""

from __future__ import annotations

import json

import pytest
from itsdangerous.encoding import base64_encode

from switchboard.account.connect_links import ConnectLinks
from switchboard.account.signing import Signer

OLD, NEW = "an old key of the fleet, long enough", "a new key of the fleet, long enough"


def signer(*keys: str, purpose: str = "test", now: float = 1_000.0) -> Signer:
    return Signer(keys, purpose, lambda: now)


def test_keys_are_rotated_like_everywhere_the_newest_signs_and_all_verify() -> None:
    before = signer(OLD).sign({"a": 1}, 60)
    during = signer(NEW, OLD).sign({"a": 2}, 60)

    assert signer(NEW, OLD).read(before) == {"a": 1}
    assert signer(NEW).read(during) == {"a": 2}
    assert signer(OLD).read(during) is None
    assert signer(NEW).read(before) is None


@pytest.mark.parametrize("purpose", ["session cookie", "sign-in cookie", "connect link"])
def test_what_was_signed_for_something_else_is_refused(purpose: str) -> None:
    assert signer(NEW, purpose=purpose).read(signer(NEW).sign({}, 60)) is None


def test_it_is_over_at_its_time_by_the_fleets_clock() -> None:
    text = signer(NEW).sign({"a": 1}, 60)
    assert signer(NEW, now=1_059.0).read(text) == {"a": 1}
    assert signer(NEW, now=1_060.0).read(text) is None


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.b", "é", "\x00", "." * 5_000, base64_encode(json.dumps({"until": 9e9})).decode() + "." + "A" * 43],
)
def test_what_nobody_signed_is_refused(text: str) -> None:
    assert signer(NEW).read(text) is None


def test_a_link_names_its_person_to_nobody_who_sees_it() -> None:
    links = ConnectLinks([NEW], "https://gateway.example/tools", lambda: 1_000.0)
    link = links.link('["https://issuer.example", "alice@corp.example"]', "a b/c")

    assert link.startswith("https://gateway.example/tools/connections/connect/a%20b%2Fc?link=")
    assert "alice" not in link
    assert base64_encode("alice").decode().rstrip("=") not in link
