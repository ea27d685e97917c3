from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.caching import CacheHint

from switchboard.catalog import Catalog, Entry, Listing, UnknownSelection, Wish, resolved, select, wish
from switchboard.catalog.pages import tokens
from switchboard.catalog.search import CALL, DISCOVER, ToolIndex, words
from switchboard.catalog.selection import tags
from switchboard.config import Preset, ToolSearch
from switchboard.protocol.resource_uris import Template

ENTRIES = {
    "web__fetch": ("web", "Fetch a page from the web by its URL", {"web"}),
    "web__crawl": ("web", "Follow links and fetch many pages", {"web", "slow"}),
    "files__read": ("files", "Read a file from disk", {"files"}),
    "files__delete": ("files", "Delete a file for good", {"files", "danger"}),
    "git__commitHistory": ("git", "List what was committed to a repository", set()),
}


def entry(name: str) -> Entry:
    provider, description, labels = ENTRIES[name]
    wire = {"name": name, "description": description, "inputSchema": {"type": "object"}}
    return Entry(name, provider, name.split("__")[1], wire, frozenset(labels))


CATALOG = Catalog(
    Listing("tools", {name: entry(name) for name in ENTRIES}, digest="whole"),
    Listing("resources", {"x://a": Entry("x://a", "web", "x://a", {}, frozenset({"web"}))}),
    Listing("templates"),
    Listing("prompts"),
    {"web": CacheHint(ttl_ms=1)},
    (),
    (),
)
PRESETS = {
    "dev": Preset(tags="files,!danger"),
    "web": Preset(servers=("web",)),
    "plain": Preset(allow=("*__read", "*__fetch"), deny=("web*",)),
    "large": Preset(tool_search=True),
    "short": Preset(tool_search=False),
}


def shown(query: bytes, search: ToolSearch | None = None) -> list[str]:
    selection = resolved(wish(query), PRESETS, search or ToolSearch())
    return list(select(CATALOG, selection).tools.entries)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (b"", list(ENTRIES)),
        (b"sessionId=1", list(ENTRIES)),
        (b"tags=web", ["web__fetch", "web__crawl"]),
        (b"tags=web,!slow", ["web__fetch"]),
        (b"tags=%21slow%2C%21danger", ["web__fetch", "files__read", "git__commitHistory"]),
        (b"tags=danger,slow", ["web__crawl", "files__delete"]),
        (b"tags=nothing", []),
        (b"preset=dev", ["files__read"]),
        (b"preset=web", ["web__fetch", "web__crawl"]),
        (b"preset=plain", ["files__read"]),
        (b"preset=web&tags=!slow", ["web__fetch"]),
    ],
)
def test_a_url_shows_what_it_asks_for_in_the_order_of_the_whole(query: bytes, names: list[str]) -> None:
    assert shown(query) == names


def test_a_selection_holds_for_every_kind_and_what_it_leaves_out_is_unknown() -> None:
    view = select(CATALOG, resolved(Wish(tags="files"), PRESETS, ToolSearch()))
    assert list(view.resources.entries) == []
    assert view.tools.find("web__fetch") is None
    assert view.reader_of("x://a") is None
    assert view.tools.digest != CATALOG.tools.digest


@pytest.mark.parametrize(
    "preset", [Preset(tags="web"), Preset(servers=("web",)), Preset(deny=("templates:notes://*",))]
)
def test_a_template_that_is_left_out_reads_nothing(preset: Preset) -> None:
    template = Entry("notes://{id}", "notes", "notes://{id}", {}, frozenset({"notes"}))
    whole = replace(
        CATALOG,
        templates=Listing("templates", {template.exposed: template}),
        matchers=((Template.parse(template.exposed), template),),
    )
    assert whole.reader_of("notes://7") is not None
    view = select(whole, resolved(Wish(preset="part"), {"part": preset}, ToolSearch()))
    assert list(view.templates.entries) == []
    assert view.reader_of("notes://7") is None


def test_who_asks_for_nothing_gets_the_snapshot_itself() -> None:
    assert select(CATALOG, resolved(Wish(), PRESETS, ToolSearch())) is CATALOG


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (b"preset=gone", "there is no preset 'gone'; there are: dev, web, plain, large, short"),
        (b"preset=a&preset=b", "once each"),
        (b"tags=web,,", "is not a list of tags"),
        (b"tags=!", "is not a list of tags"),
        (b"tags=" + b"a" * 513, "too long"),
    ],
)
def test_what_there_is_not_is_said(query: bytes, reason: str) -> None:
    with pytest.raises(UnknownSelection) as caught:
        shown(query)
    assert reason in str(caught.value)


def test_a_tag_expression_is_any_of_these_and_none_of_those() -> None:
    expression = tags("a, b,!c")
    assert [expression.admit(frozenset(labels)) for labels in ("a", "b", "ac", "c", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_tool_search_lists_two_tools_and_those_to_keep_and_finds_the_others() -> None:
    view = select(CATALOG, resolved(Wish(preset="large"), PRESETS, ToolSearch(keep=("files__r*",))))
    assert list(view.tools.entries) == [DISCOVER, CALL, "files__read"]
    assert view.tools.find("web__crawl") == CATALOG.tools.entries["web__crawl"]
    assert view.tools.page(None)["tools"][0]["name"] == DISCOVER


@pytest.mark.parametrize(("above", "searched"), [(0, True), (10_000, False)])
def test_tool_search_begins_where_a_list_costs_more_than_was_said(above: int, searched: bool) -> None:
    assert (shown(b"", ToolSearch(enabled=True, above_tokens=above))[0] == DISCOVER) is searched


def test_a_preset_can_go_without_tool_search() -> None:
    assert shown(b"preset=short", ToolSearch(enabled=True)) == list(ENTRIES)


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("delete file", "files__delete"),
        ("crawl", "web__crawl"),
        ("fetching a page", "web__fetch"),
        ("commit history", "git__commitHistory"),
        ("REPOSITORY", "git__commitHistory"),
    ],
)
def test_a_search_finds_the_tool_that_is_meant_first(query: str, best: str) -> None:
    assert ToolIndex(CATALOG.tools.entries).search(query)[0].entry.exposed == best


def test_a_search_ends_at_its_limit_and_finds_nothing_where_nothing_is() -> None:
    index = ToolIndex(CATALOG.tools.entries)
    assert len(index.search("", 2)) == 2
    assert index.search("zebra") == []


WORDS = st.sampled_from(["", "a", "fi", "fil", "file", "files", "filer", "Read", "reads", "web2", "größe", "größer"])


def _likeness(wanted: str, word: str) -> float:
    shorter, longer = sorted((wanted, word), key=len)
    return 1.0 if wanted == word else 0.5 if len(shorter) >= 3 and longer.startswith(shorter) else 0.0


def _score(entry: Entry, query: str, entries: list[Entry]) -> float:
    """As the module words it: a sum over the words of the query, of rarity by the most that a word like it weighs."""

    def most(wanted: str, each: Entry) -> float:
        texts = ((each.exposed, 3), (each.wire["title"], 3), (each.wire["description"], 1))
        weights = [dict.fromkeys(words(text), weight) for text, weight in texts]
        every = {word for one in weights for word in one}
        return max((_likeness(wanted, word) * sum(one.get(word, 0) for one in weights) for word in every), default=0.0)

    def rarity(wanted: str) -> float:
        having = sum(most(wanted, each) > 0 for each in entries)
        return math.log(1 + (len(entries) + 0.5) / (having + 0.5))

    return sum(rarity(wanted) * most(wanted, entry) for wanted in set(words(query)))


@given(st.lists(st.tuples(WORDS, WORDS, WORDS), max_size=8), st.lists(WORDS, min_size=1, max_size=4).map(" ".join))
def test_a_search_looks_at_few_tools_and_scores_them_as_if_it_looked_at_all(
    tools: list[tuple[str, str, str]], query: str
) -> None:
    entries = [
        Entry(f"{name}_{number:x}", "p", name, {"title": title, "description": f"{title} {text} {text}"})
        for number, (name, title, text) in enumerate(tools)
    ]
    found = ToolIndex({entry.exposed: entry for entry in entries}).search(query, 50)
    if not words(query):
        return
    scores = {entry.exposed: score for entry in entries if (score := _score(entry, query, entries)) > 0}
    assert {each.entry.exposed: pytest.approx(each.score) for each in found} == scores
    assert [round(each.score, 9) for each in found] == sorted(
        (round(score, 9) for score in scores.values()), reverse=True
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [("getHTTPStatus_codes2", ["get", "http", "status", "codes", "2"]), ("größe", ["größe"]), ("日本", ["日本"])],
)
def test_names_and_texts_are_cut_into_words(text: str, found: list[str]) -> None:
    assert words(text) == found


@pytest.mark.parametrize(("wire", "about"), [({}, 1), ({"a": "x" * 396}, 101)])
def test_tokens_are_estimated_from_the_length_of_the_definition(wire: dict[str, Any], about: int) -> None:
    assert tokens(wire) == about
