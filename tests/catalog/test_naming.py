from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard.catalog import Naming
from switchboard.catalog.naming import Claim, resolve
from switchboard.config import Prefix

PREFIXES: list[Prefix] = ["always", "conflict", "never"]
# Few letters, and the separator among them, so that names do collide.
CLAIMS = st.lists(
    st.builds(
        Claim,
        st.sampled_from(["a", "b", "a__b"]),
        st.text("ab_", min_size=0, max_size=6) | st.text("é x", min_size=1, max_size=2),
        st.sampled_from(PREFIXES),
    ),
    max_size=12,
    unique_by=lambda claim: claim[:2],
)


def exposed(*claims: Claim, separator: str = "__") -> dict[str, tuple[str, str]]:
    granted, _ = resolve("tools", claims, Naming(separator))
    return {name: (claim.provider, claim.name) for name, claim in granted.items()}


@given(CLAIMS)
def test_every_name_leads_back_to_one_claim_and_every_claim_is_granted_or_rejected(claims: list[Claim]) -> None:
    granted, rejected = resolve("tools", claims, Naming())
    assert len(set(granted.values())) == len(granted)
    answered = [(claim.provider, claim.name) for claim in granted.values()]
    answered += [(rejection.provider, rejection.name) for rejection in rejected]
    assert sorted(answered) == sorted((claim.provider, claim.name) for claim in claims)


@given(CLAIMS)
def test_every_name_is_valid_and_is_its_own_or_the_prefixed_one(claims: list[Claim]) -> None:
    granted, _ = resolve("tools", claims, Naming())
    for name, claim in granted.items():
        assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name)
        bare_allowed, prefixed_allowed = claim.prefix != "always", claim.prefix != "never"
        assert (bare_allowed and name == claim.name) or (prefixed_allowed and name == f"{claim.provider}__{claim.name}")


@given(CLAIMS)
def test_names_are_listed_in_the_order_of_the_claims(claims: list[Claim]) -> None:
    granted, _ = resolve("tools", claims, Naming())
    order = [claims.index(claim) for claim in granted.values()]
    assert order == sorted(order)


@given(CLAIMS, CLAIMS)
def test_a_provider_that_comes_later_takes_no_fixed_name_from_an_earlier_one(
    claims: list[Claim], later: list[Claim]
) -> None:
    before = [claim for claim in claims if claim.prefix == "never"]
    after = [claim._replace(provider=f"late-{claim.provider}", prefix="never") for claim in later]
    granted, _ = resolve("tools", before, Naming())
    with_later, _ = resolve("tools", [*before, *after], Naming())
    assert granted.items() <= with_later.items()


def test_never_beats_always_beats_conflict() -> None:
    claims = (
        Claim("a", "b", "conflict"),
        Claim("c", "a__b", "never"),
        Claim("a", "x", "always"),
        Claim("d", "b", "never"),
    )
    assert exposed(*claims) == {"a__b": ("c", "a__b"), "a__x": ("a", "x"), "b": ("d", "b")}


def test_only_contested_names_get_a_prefix_where_the_prefix_is_for_conflicts() -> None:
    claims = Claim("a", "both", "conflict"), Claim("a", "own", "conflict"), Claim("b", "both", "conflict")
    assert list(exposed(*claims)) == ["a__both", "own", "b__both"]


def test_a_name_that_another_always_has_counts_as_contested() -> None:
    claims = Claim("b", "a__x", "conflict"), Claim("a", "x", "always")
    assert exposed(*claims) == {"b__a__x": ("b", "a__x"), "a__x": ("a", "x")}


def test_a_rejection_says_who_has_the_name() -> None:
    _, rejected = resolve("tools", [Claim("a", "x", "never"), Claim("b", "x", "never")], Naming())
    assert [(r.provider, r.name, r.reason) for r in rejected] == [("b", "x", "'x' is taken by 'a'")]


@pytest.mark.parametrize("name", ["", "two words", "é", "a" * 129, "new\nline", "slash/ed"])
def test_a_tool_name_that_the_specification_does_not_allow_is_rejected(name: str) -> None:
    granted, rejected = resolve("tools", [Claim("a", name, "never")], Naming())
    assert not granted
    assert "is not a valid name" in rejected[0].reason


def test_a_prompt_may_be_called_anything_but_nothing() -> None:
    granted, rejected = resolve("prompts", [Claim("a", "two words", "never"), Claim("a", "", "never")], Naming())
    assert list(granted) == ["two words"]
    assert [rejection.name for rejection in rejected] == [""]


def test_the_separator_is_a_matter_of_taste() -> None:
    assert list(exposed(Claim("a", "x", "always"), separator=".")) == ["a.x"]
