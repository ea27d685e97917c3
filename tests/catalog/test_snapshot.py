from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.caching import CacheHint
from mcp_types import Prompt, Resource, ResourceTemplate, Tool

from switchboard.catalog import Catalog, InvalidCursor, Shape, build
from switchboard.catalog.pages import cursor_at, position
from switchboard.config import Exposure, Prefix, ToolRule
from switchboard.plugins import Kind

KINDS: list[Kind] = ["tools", "resources", "templates", "prompts"]


@dataclass(frozen=True)
class Offered:
    provider: str
    prefix: Prefix = "always"
    tools: Sequence[Tool] = ()
    resources: Sequence[Resource] = ()
    templates: Sequence[ResourceTemplate] = ()
    prompts: Sequence[Prompt] = ()
    page_sizes: Mapping[Kind, int] = field(default_factory=dict)
    cache_hints: Mapping[str, CacheHint] = field(default_factory=dict)


def tools(*names: str) -> list[Tool]:
    return [Tool(name=name, input_schema={"type": "object"}) for name in names]


def resources(*uris: str) -> list[Resource]:
    return [Resource(uri=uri, name=uri) for uri in uris]


def templates(*uris: str) -> list[ResourceTemplate]:
    return [ResourceTemplate(uri_template=uri, name=uri) for uri in uris]


def owner(catalog: Catalog, uri: str) -> str | None:
    entry = catalog.reader_of(uri)
    return None if entry is None else entry.provider


def test_an_entry_says_whose_it_is_and_what_its_provider_calls_it() -> None:
    entry = build([Offered("a", tools=tools("x"))]).tools.find("a__x")
    assert entry is not None
    assert (entry.provider, entry.name, entry.wire["name"]) == ("a", "x", "a__x")


def test_a_definition_goes_out_as_it_came_but_for_its_name() -> None:
    schema = {"type": "object", "$anchor": "here", "allOf": [{"required": ["x"]}], "additionalProperties": False}
    tool = Tool(name="x", title="X", description="Do x.", input_schema=schema, _meta={"ui": {"resourceUri": "ui://x"}})
    entry = build([Offered("a", tools=[tool])]).tools.find("a__x")
    assert entry is not None
    assert entry.wire == {
        "name": "a__x",
        "title": "X",
        "description": "Do x.",
        "inputSchema": schema,
        "_meta": {"ui": {"resourceUri": "ui://x"}},
    }


def test_the_first_provider_in_order_owns_a_uri_and_the_later_one_is_reported() -> None:
    catalog = build([Offered("a", resources=resources("r://x")), Offered("b", resources=resources("r://x", "r://y"))])
    assert (owner(catalog, "r://x"), owner(catalog, "r://y")) == ("a", "b")
    assert [(r.kind, r.provider, r.name) for r in catalog.rejected] == [("resources", "b", "r://x")]


def test_a_listed_uri_beats_the_template_of_an_earlier_provider() -> None:
    catalog = build([Offered("a", templates=templates("r://{id}")), Offered("b", resources=resources("r://x"))])
    assert (owner(catalog, "r://x"), owner(catalog, "r://y"), owner(catalog, "s://y")) == ("b", "a", None)


def test_among_templates_the_first_that_matches_is_asked() -> None:
    catalog = build(
        [
            Offered("a", templates=templates("r://{id}/one")),
            Offered("b", templates=templates("r://{+path}", "r://{id}/one")),
        ]
    )
    assert (owner(catalog, "r://5/one"), owner(catalog, "r://5/two")) == ("a", "b")
    assert [(r.kind, r.provider, r.name) for r in catalog.rejected] == [("templates", "b", "r://{id}/one")]


def test_a_template_that_cannot_be_parsed_is_not_offered() -> None:
    catalog = build([Offered("a", templates=templates("r://{", "r://{id}"))])
    assert list(catalog.templates.entries) == ["r://{id}"]
    assert [rejection.name for rejection in catalog.rejected] == ["r://{"]


def test_equal_offers_have_equal_digests_and_any_difference_shows() -> None:
    offer = Offered("a", tools=tools("x"), resources=resources("r://x"))
    digest = build([offer]).digest
    assert build([replace(offer)]).digest == digest
    changed = [
        replace(offer, tools=tools("y")),
        replace(offer, tools=tools("x", "y")),
        replace(offer, prefix="never"),
        replace(offer, resources=()),
        replace(offer, page_sizes={"tools": 3}),
        replace(offer, cache_hints={"tools/list": CacheHint(5)}),
        replace(offer, prompts=[Prompt(name="p")]),
    ]
    assert len({digest, *(build([other]).digest for other in changed)}) == 1 + len(changed)


def test_a_page_is_as_small_as_a_provider_wishes_only_where_nothing_of_others_would_move_to_a_later_page() -> None:
    many = Offered("a", tools=tools(*map(str, range(300))))
    wishing = Offered("b", prompts=[Prompt(name="p")], page_sizes={"tools": 5, "prompts": 1000})
    catalog = build([many, wishing])
    assert (catalog.tools.page_size, catalog.prompts.page_size) == (250, 250)
    assert build([many, replace(wishing, tools=tools("x"))]).tools.page_size == 250
    assert build([replace(wishing, tools=tools("x"))]).tools.page_size == 5


@given(st.integers(0, 40), st.integers(1, 15))
def test_following_the_cursors_shows_everything_once_and_in_order(count: int, size: int) -> None:
    names = [f"t{number}" for number in range(count)]
    listing = build([Offered("a", "never", tools=tools(*names), page_sizes={"tools": size})]).tools
    seen: list[str] = []
    page = listing.page(None)
    for _ in range(count + 1):
        seen += [tool["name"] for tool in page["tools"]]
        if "nextCursor" not in page:
            break
        page = listing.page(page["nextCursor"])
    assert seen == names


def test_a_cursor_from_before_a_change_still_works_after_it() -> None:
    before = build([Offered("a", "never", tools=tools("t1", "t2", "t3"), page_sizes={"tools": 2})]).tools
    after = build([Offered("a", "never", tools=tools("t1", "t2", "t3", "t4"), page_sizes={"tools": 2})]).tools
    shrunk = build([Offered("a", "never", tools=tools("t1"), page_sizes={"tools": 2})]).tools
    cursor = before.page(None)["nextCursor"]
    assert [tool["name"] for tool in after.page(cursor)["tools"]] == ["t3", "t4"]
    assert list(shrunk.page(cursor)["tools"]) == []


@given(st.sampled_from(KINDS), st.integers(1, 999_999_999))
def test_a_cursor_round_trips_for_its_own_list_only(kind: Kind, offset: int) -> None:
    cursor = cursor_at(kind, offset)
    assert position(kind, cursor) == offset
    for other in set(KINDS) - {kind}:
        with pytest.raises(InvalidCursor):
            position(other, cursor)


@given(st.text() | st.text("ABCDEFabcdef0123456789-_="))
def test_any_other_text_is_an_invalid_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor):
        position("tools", text)


@pytest.mark.parametrize("inner", ["tools:0", "tools:-1", "tools:01", "tools:1 ", "tools:٣", "tools:1e3", "tools:"])
def test_a_forged_position_is_an_invalid_cursor(inner: str) -> None:
    forged = base64.urlsafe_b64encode(inner.encode()).decode().rstrip("=")
    with pytest.raises(InvalidCursor):
        position("tools", forged)


def test_what_is_offered_under_a_name_made_to_fit_is_told() -> None:
    offer = Offered("odd", tools=tools("user/profile", "ok"), prompts=[Prompt(name="any name/at all")])
    catalog = build([offer])
    assert [(each.name, each.exposed) for each in catalog.renamed] == [("user/profile", "odd__user_profile")]
    assert list(catalog.prompts.entries) == ["odd__any name/at all"]
    entry = catalog.tools.find("odd__user_profile")
    assert entry is not None
    assert entry.name == "user/profile"


def test_what_did_not_change_is_taken_from_the_snapshot_before_and_is_what_would_be_made_anew() -> None:
    first, second = Offered("a", tools=tools("x", "y"), prompts=[Prompt(name="p")]), Offered("b", tools=tools("x"))
    before = build([first, second])
    changed = replace(first, tools=[first.tools[0], *tools("z")])
    after = build([changed, second], before=before)
    assert {name for name, entry in after.tools.entries.items() if entry is before.tools.entries.get(name)} == {
        "a__x",
        "b__x",
    }
    assert after.prompts.entries["p" if "p" in after.prompts.entries else "a__p"] in before.prompts.entries.values()
    assert after == build([changed, second])
    assert after.digest == build([changed, second]).digest != before.digest


def test_what_is_called_or_configured_otherwise_is_made_anew_from_the_same_definition() -> None:
    shared = tools("x")
    before = build([Offered("a", tools=shared), Offered("b", tools=shared, prefix="conflict")])
    alone = [Offered("b", tools=shared, prefix="conflict")]
    after = build(alone, before=before)
    assert list(before.tools.entries) == ["a__x", "x"]
    assert [entry.provider for entry in after.tools.entries.values()] == ["b"]
    assert after == build(alone)
    renamed = {"b": Shape(Exposure(rename={"x": "other"}, tools={"x": ToolRule(tags=["t"])}))}
    shaped = build(alone, shapes=renamed, before=after)
    assert list(shaped.tools.entries) == ["other"]
    assert shaped.tools.entries["other"].tags == {"t"}
    assert shaped == build(alone, shapes=renamed)
    assert build(alone, before=shaped) == after
