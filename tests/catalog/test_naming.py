from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard.catalog import Naming
from switchboard.catalog.naming import Claim, fitted, resolve
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
        own = fitted("tools", claim.name)
        made = own != claim.name and re.fullmatch(rf"({claim.provider}__)?{re.escape(own)}_[0-9a-f]{{8}}", name)
        assert made or (bare_allowed and name == own) or (prefixed_allowed and name == f"{claim.provider}__{own}")


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


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("user/profile", "user_profile"),
        ("get user", "get_user"),
        ("new\nline", "new_line"),
        ("/api/v1/{id}", "api_v1_id"),
        ("a:b::c", "a_b_c"),
        ("Café Zürich", "Cafe_Zurich"),
        ("3d.model", "3d.model"),
        ("get-user", "get-user"),
        ("поиск docs", "docs"),
        ("поиск", "tool_d89cae10"),
        ("検索", "tool_1b6b1a6f"),
        ("\U0001f600", "tool_f0443a34"),
        ("---/---", "tool_08b3576d"),
        ("a" * 300, "a" * 119 + "_9835fa6b"),
        ("a" * 128, "a" * 128),
    ],
)
def test_a_tool_name_that_does_not_fit_is_made_to_fit_in_one_way(name: str, fit: str) -> None:
    granted, rejected = resolve("tools", [Claim("a", name, "never")], Naming())
    assert (list(granted), rejected) == ([fit], ())


def test_names_that_become_the_same_are_told_apart_whatever_their_order() -> None:
    claims = [Claim("a", name, "always") for name in ("user/profile", "user profile", "user_profile", "ok")]
    there = exposed(*claims)
    assert there == exposed(*reversed(claims))
    assert there["a__user_profile"] == ("a", "user_profile")
    assert there["a__ok"] == ("a", "ok")
    assert {name for _, name in there.values()} == {claim.name for claim in claims}
    assert all(re.fullmatch(r"a__user_profile(_[0-9a-f]{8})?|a__ok", name) for name in there)


def test_two_names_that_become_the_same_keep_theirs_when_one_that_fits_joins_them() -> None:
    claims = [Claim("a", name, "always") for name in ("user/profile", "user profile")]
    assert exposed(*claims).items() <= exposed(*claims, Claim("a", "user_profile", "always")).items()


def test_a_long_name_fits_with_its_prefix_too() -> None:
    claims = [Claim("provider", "a" * 127 + end, "always") for end in ("x", "y")]
    names = list(exposed(*claims))
    assert [len(name) for name in names] == [128, 128]
    assert len(set(names)) == 2


def test_a_name_made_fit_gives_way_to_one_that_another_provider_has() -> None:
    there = exposed(Claim("a", "get_user", "never"), Claim("b", "get user", "never"))
    assert there["get_user"] == ("a", "get_user")
    assert [re.fullmatch(r"get_user_[0-9a-f]{8}", name) is not None for name in there] == [False, True]


def test_a_tool_without_a_name_is_rejected() -> None:
    granted, rejected = resolve("tools", [Claim("a", "", "never")], Naming())
    assert not granted
    assert rejected[0].reason == "it has no name"


def test_a_prompt_may_be_called_anything_but_nothing() -> None:
    granted, rejected = resolve("prompts", [Claim("a", "two words", "never"), Claim("a", "", "never")], Naming())
    assert list(granted) == ["two words"]
    assert [rejection.name for rejection in rejected] == [""]


def test_the_separator_is_a_matter_of_taste() -> None:
    assert list(exposed(Claim("a", "x", "always"), separator=".")) == ["a.x"]
