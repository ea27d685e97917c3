from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_types import Prompt, Resource, Tool

from switchboard.catalog import Catalog, build, shapes
from switchboard.catalog.shaping import expression
from switchboard.config import Exposure


@dataclass
class Offering:
    provider: str
    tools: list[Tool]
    prefix: Any = "always"
    resources: list[Resource] = field(default_factory=list)
    templates: list[Any] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    page_sizes: dict[Any, int] = field(default_factory=dict)
    cache_hints: dict[str, Any] = field(default_factory=dict)


def tools(*names: str) -> list[Tool]:
    return [Tool(name=name, input_schema={"type": "object"}) for name in names]


def shaped(exposure: dict[str, Any], offering: Offering) -> Catalog:
    return build([offering], shapes=shapes({offering.provider: Exposure.model_validate(exposure)}))


@pytest.mark.parametrize(
    ("exposure", "left"),
    [
        ({}, ["read", "read_all", "delete"]),
        ({"allow": ["read*"]}, ["read", "read_all"]),
        ({"deny": ["read*"]}, ["delete"]),
        ({"allow": ["read*", "delete"], "deny": ["*_all"]}, ["read", "delete"]),
        ({"allow": ["tools:rea?"]}, ["read"]),
        ({"allow": ["resources:*"]}, ["read", "read_all", "delete"]),
        ({"deny": ["*"]}, []),
        ({"deny": ["READ"]}, ["read", "read_all", "delete"]),
    ],
)
def test_policy_decides_what_is_there_at_all(exposure: dict[str, Any], left: list[str]) -> None:
    catalog = shaped(exposure, Offering("p", tools("read", "read_all", "delete")))
    assert list(catalog.tools.entries) == [f"p__{name}" for name in left]
    assert catalog.rejected == ()


def test_policy_speaks_of_every_kind_by_its_name() -> None:
    offering = Offering(
        "p",
        tools("a"),
        resources=[Resource(name="x", uri=uri) for uri in ("file:///secret/x", "file:///y")],
        prompts=[Prompt(name="greet"), Prompt(name="plan")],
    )
    catalog = shaped({"deny": ["resources:file:///secret/*"], "allow": ["prompts:plan"]}, offering)
    assert list(catalog.tools.entries) == ["p__a"]
    assert list(catalog.resources.entries) == ["file:///y"]
    assert list(catalog.prompts.entries) == ["p__plan"]


def test_a_renamed_tool_is_shown_under_its_new_name_and_called_by_its_own() -> None:
    catalog = shaped({"rename": {"a": "better"}}, Offering("p", tools("a", "b")))
    entry = catalog.tools.entries["p__better"]
    assert (entry.name, entry.wire["name"]) == ("a", "p__better")
    assert "p__a" not in catalog.tools.entries


def test_a_tool_renamed_onto_another_is_reported() -> None:
    catalog = shaped({"rename": {"a": "b"}}, Offering("p", tools("a", "b")))
    assert [entry.name for entry in catalog.tools.entries.values()] == ["a"]
    assert catalog.rejected[0].reason == "'b' is there twice"


def test_rules_add_scopes_and_tags_to_the_tools_they_match() -> None:
    exposure = {
        "tags": ["files"],
        "tools": {"delete*": {"scopes": ["files:write"], "tags": ["danger"]}, "*_all": {"scopes": ["files:all"]}},
    }
    entries = shaped(exposure, Offering("p", tools("read", "delete", "delete_all"))).tools.entries
    assert [sorted(entry.scopes) for entry in entries.values()] == [[], ["files:write"], ["files:all", "files:write"]]
    assert [sorted(entry.tags) for entry in entries.values()] == [["files"], ["danger", "files"], ["danger", "files"]]


def test_a_change_of_scopes_or_tags_is_a_change_of_the_catalog() -> None:
    made = [
        shaped(exposure, Offering("p", tools("a"))).digest
        for exposure in ({}, {"tags": ["x"]}, {"tools": {"a": {"scopes": ["s"]}}}, {})
    ]
    assert made[0] == made[3]
    assert len(set(made)) == 3


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="ab*?.[(\n", max_size=6), st.text(alphabet="ab.[(\n", max_size=6))
def test_a_pattern_matches_what_stars_and_marks_say_and_nothing_else_is_special(pattern: str, text: str) -> None:
    def matches(p: str, t: str) -> bool:
        if not p:
            return not t
        if p[0] == "*":
            return matches(p[1:], t) or (bool(t) and matches(p, t[1:]))
        return bool(t) and (p[0] in ("?", t[0])) and matches(p[1:], t[1:])

    assert bool(re.fullmatch(expression(pattern), text, re.DOTALL)) == matches(pattern, text)


@pytest.mark.parametrize(
    "deny", ["delete/user", "delete_user", "remove", "delete?user", "delete*", "rem*", "tools:remove"]
)
def test_a_tool_is_denied_by_its_own_name_the_one_made_fit_and_the_one_it_was_given(deny: str) -> None:
    offering = Offering("p", tools("delete/user", "other"))
    catalog = shaped({"deny": [deny], "rename": {"delete/user": "remove"}}, offering)
    assert list(catalog.tools.entries) == ["p__other"]


@pytest.mark.parametrize("name", ["delete/user", "delete_user"])
def test_a_tool_is_allowed_renamed_and_ruled_by_its_own_name_and_the_one_made_fit(name: str) -> None:
    exposure = {"allow": [name], "rename": {name: "remove"}, "tools": {name: {"scopes": ["admin"], "tags": ["danger"]}}}
    (entry,) = shaped(exposure, Offering("p", tools("delete/user", "other"))).tools.entries.values()
    assert (entry.exposed, entry.name) == ("p__remove", "delete/user")
    assert (set(entry.scopes), set(entry.tags)) == ({"admin"}, {"danger"})


def test_a_tool_that_appears_later_is_denied_too() -> None:
    denied = {"deny": ["late*"]}
    assert list(shaped(denied, Offering("p", tools("a"))).tools.entries) == ["p__a"]
    assert list(shaped(denied, Offering("p", tools("a", "late one"))).tools.entries) == ["p__a"]
