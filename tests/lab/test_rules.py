"""The judge tells what a client met, broke, or had no occasion for, rule by rule."""

from __future__ import annotations

import pytest

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules import RULES, judge, verdict

MCP, TOKEN, AUTHORIZE = Place.MCP, Place.TOKENS, Place.AUTHORIZE
EXPIRED = Hop(1, MCP, 401, {"token": "t1"})
CHALLENGE = Hop(1, MCP, 403, {"token": "t1"}, {"error": "insufficient_scope", "scope": "read write"})
PKCE = {"code_challenge": "c", "code_challenge_method": "S256"}


def _asked(number: int, **sent: str) -> Hop:
    return Hop(number, AUTHORIZE, 302, sent)


ISSUER = [Hop(1, Place.ISSUER_METADATA, 200)]
RESOURCE = [Hop(1, Place.RESOURCE_METADATA, 200)]
SIGNED_IN = [_asked(1)]
REDEEMED = Hop(2, TOKEN, 200, {"grant_type": "authorization_code"})
REFRESHED = Hop(2, TOKEN, 200, {"grant_type": "refresh_token"})
CASES = {
    "pkce": ([_asked(1, **PKCE)], [_asked(1, code_challenge="c", code_challenge_method="plain")], 1),
    "resource": (
        [_asked(1, resource="r"), Hop(2, TOKEN, 200, {"resource": "r"})],
        [_asked(1, resource="r"), REDEEMED],
        2,
    ),
    "header-only": ([EXPIRED], [Hop(1, MCP, 401, {"access_token": "t"})], 1),
    "refreshes": ([EXPIRED, REFRESHED], [EXPIRED, _asked(2)], 2),
    "steps-up": ([CHALLENGE, _asked(2, scope="write read")], [CHALLENGE, _asked(2, scope="read")], 2),
    "step-up-ends": ([CHALLENGE, _asked(2)], [CHALLENGE, *map(_asked, range(2, 6))], 5),
    "refuses-without-s256": (ISSUER, [*ISSUER, _asked(2)], 2),
    "refuses-wrong-resource": (RESOURCE, [*RESOURCE, _asked(2)], 2),
    "refuses-wrong-issuer": (ISSUER, [*ISSUER, _asked(2)], 2),
    "refuses-wrong-iss": (SIGNED_IN, [*SIGNED_IN, REDEEMED], 2),
    "refuses-wrong-state": (SIGNED_IN, [*SIGNED_IN, REDEEMED], 2),
}


def test_every_rule_has_a_case() -> None:
    assert CASES.keys() == RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_a_right_client_passes_a_wrong_one_fails_at_its_hop_and_an_absent_one_did_not_try(rule: str) -> None:
    right, wrong, hop = CASES[rule]
    met, broken, absent = (judge([rule], hops) for hops in (right, wrong, []))
    assert (verdict(met), verdict(broken), verdict(absent)) == ("passed", "failed", "not_tried")
    assert broken[0].hop == hop


def test_a_client_that_gives_up_after_the_expiry_or_the_challenge_fails() -> None:
    assert verdict(judge(["refreshes"], [EXPIRED])) == "failed"
    assert verdict(judge(["steps-up"], [CHALLENGE])) == "failed"
