"""The judge tells what a client met, broke, or had no occasion for; tests/lab/test_right_and_wrong.py has the rules."""

from __future__ import annotations

import pytest

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules import RULES, Rule, judge, verdict

MCP, TOKEN, AUTHORIZE = Place.MCP, Place.TOKENS, Place.AUTHORIZE
EXPIRED = Hop(1, MCP, 401, {"token": "t1"})
CHALLENGE = Hop(1, MCP, 403, {"token": "t1"}, {"error": "insufficient_scope", "scope": "read write"})


HEADINGS = {
    "2025-03-26/basic/authorization": {
        "authorization-base-url",
        "fallbacks-for-servers-without-metadata-discovery",
    },
    "2025-11-25/basic/authorization": {
        "authorization-code-protection",
        "authorization-server-metadata-discovery",
        "canonical-server-uri",
        "client-id-metadata-documents",
        "client-registration-approaches",
        "error-handling",
        "open-redirection",
        "protected-resource-metadata-discovery-requirements",
        "resource-parameter-implementation",
        "scope-selection-strategy",
        "step-up-authorization-flow",
        "token-requirements",
    },
    "2026-07-28/basic/authorization": {"step-up-authorization-flow"},
    "2026-07-28/basic/authorization/authorization-server-discovery": {"authorization-server-location"},
    "2026-07-28/basic/authorization/client-registration": {
        "application-type-and-redirect-uri-constraints",
        "authorization-server-binding",
    },
}
"""Headings of the specification, as its text has them."""


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_specification_has_the_section_that_a_rule_names(rule: Rule) -> None:
    page, _, heading = rule.url.partition("#")
    if "/specification/2" in page:
        assert heading in HEADINGS[page.partition("/specification/")[2]]
    assert heading


@pytest.mark.parametrize("rule", RULES)
def test_nothing_is_said_of_a_client_that_was_not_there(rule: str) -> None:
    for ended in (False, True):
        assert verdict(judge(RULES, [rule], [], ended=ended)) == "not_tried"


def test_a_client_that_does_nothing_after_the_expiry_or_the_challenge_fails_once_it_has_ended() -> None:
    for rule, hops in (("refreshes", [EXPIRED]), ("steps-up", [CHALLENGE])):
        assert verdict(judge(RULES, [rule], hops, ended=True)) == "failed"
        assert verdict(judge(RULES, [rule], hops, ended=False)) == "not_tried"


def test_metadata_whose_resource_has_another_slash_may_be_refused() -> None:
    read = Hop(1, Place.RESOURCE_METADATA, 200, {}, {"resource": "http://x.test/mcp/"})
    used = Hop(2, AUTHORIZE, 303, {"resource": "http://x.test/mcp"})
    assert verdict(judge(RULES, ["resource-as-named"], [read], ended=True)) == "passed"
    assert verdict(judge(RULES, ["resource-as-named"], [read, used], ended=True)) == "failed"


def test_a_step_up_whose_call_is_not_repeated_fails() -> None:
    asked = Hop(2, AUTHORIZE, 303, {"scope": "read write"})
    assert verdict(judge(RULES, ["steps-up"], [CHALLENGE, asked], ended=True)) == "failed"
    repeated = Hop(3, MCP, 200, {"token": "t2"})
    assert verdict(judge(RULES, ["steps-up"], [CHALLENGE, asked, repeated], ended=False)) == "passed"


def test_a_refresh_token_that_was_never_replaced_may_be_sent_again() -> None:
    tries = [Hop(number, TOKEN, 500, {"refresh_token": "r1"}) for number in (1, 2)]
    assert [each.state for each in judge(RULES, ["newest-refresh-token"], tries, ended=True)] == ["met"]


def test_a_hop_that_broke_a_rule_is_named() -> None:
    hops = [Hop(1, Place.ISSUER_METADATA, 200), Hop(2, AUTHORIZE, 303)]
    (judged,) = judge(RULES, ["refuses-without-s256"], hops, ended=False)
    assert (judged.state, judged.hop) == ("broken", 2)
