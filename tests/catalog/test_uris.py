"""Policy is held against a URI whichever way it is written, and whichever way it is reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from mcp_types import Resource, ResourceTemplate

from switchboard.catalog import Catalog, Wish, build, resolved, select, shapes
from switchboard.config import Exposure, Preset, ToolSearch

SPELLINGS = [
    "file:///secret/key",
    "FILE:///secret/key",
    "file:///SECRET/Key",
    "file:/secret/key",
    "file://localhost/secret/key",
    "file:///%73ecret/key",
    "file:///%2573ecret/key",
    "file:///secret%2Fkey",
    "file:///public/../secret/key",
    "file:///public/%2e%2e/secret/key",
    "file:///public%2F..%2Fsecret/key",
    "file:///public/%252e%252e/secret/key",
    "file:///./secret/./key",
    "file:////secret//key",
    "file:///public\\..\\secret\\key",
    "file:///sec\tret/key",
    " file:///secret/key",
    "file:///secret/key?",
    "file:///secret/key#top",
    "file:///secret/key/",
    "file:///%" + "25" * 10 + "73ecret/key",
]


@dataclass
class Files:
    """A server that offers every file by one template."""

    provider: str = "files"
    prefix: Any = "always"
    tools: list[Any] = field(default_factory=list)
    resources: list[Resource] = field(default_factory=lambda: [Resource(name="readme", uri="file:///readme")])
    templates: list[ResourceTemplate] = field(
        default_factory=lambda: [
            ResourceTemplate(name="any", uri_template="{+uri}"),
            ResourceTemplate(name="note", uri_template="note://{+path}"),
        ]
    )
    prompts: list[Any] = field(default_factory=list)
    page_sizes: dict[Any, int] = field(default_factory=dict)
    cache_hints: dict[str, Any] = field(default_factory=dict)


def catalog(**exposure: Any) -> Catalog:
    return build([Files()], shapes=shapes({"files": Exposure.model_validate(exposure)}))


def preset(**given: Any) -> Catalog:
    return select(catalog(), resolved(Wish("p"), {"p": Preset(**given)}, ToolSearch()))


@pytest.mark.parametrize("uri", SPELLINGS)
def test_a_denied_resource_is_not_reached_through_a_template_however_it_is_written(uri: str) -> None:
    matched = catalog().reader_of(uri) is not None
    assert matched or "\t" in uri or "?" in uri or "#" in uri
    for denied in (
        catalog(deny=["resources:file:///secret/*"]),
        catalog(deny=["resources:file:///se%63ret/*"]),
        preset(deny=("resources:file:///secret/*",)),
    ):
        assert denied.reader_of(uri) is None
        assert denied.reader_of("file:///public/key") is not None


def test_a_host_is_no_place_to_hide_a_path_in() -> None:
    denied = catalog(deny=["resources:note://secret"])
    assert denied.reader_of("note://public/../secret") is None
    assert denied.reader_of("note://secret") is None
    assert denied.reader_of("note://public") is not None


@pytest.mark.parametrize(
    ("uri", "admitted"),
    [
        ("file:///public/a", True),
        ("file:///public/a%20b", True),
        ("file:///private", False),
        ("file:///public/../private", False),
        ("file:///public/%2e%2e/private", False),
        ("file:///public%2f..%2fprivate", False),
        ("file:///PUBLIC/a", False),
    ],
)
def test_what_is_allowed_is_allowed_in_every_reading_of_a_uri(uri: str, admitted: bool) -> None:
    assert (catalog(allow=["resources:file:///public/*"]).reader_of(uri) is not None) is admitted
    assert (preset(allow=("resources:file:///public/*",)).reader_of(uri) is not None) is admitted


def test_tags_and_scopes_of_a_rule_hold_for_a_resource_that_only_a_template_leads_to() -> None:
    whole = catalog(tools={"resources:file:///secret/*": {"tags": ["danger"], "scopes": ["files:secret"]}})
    found = whole.reader_of("file:///a/../secret/key")
    assert found is not None
    assert found.tags == {"danger"}
    assert found.scopes == {"files:secret"}
    assert select(whole, resolved(Wish(tags="!danger"), {}, ToolSearch())).reader_of("file:///secret/key") is None
    assert select(whole, resolved(Wish(tags="danger"), {}, ToolSearch())).reader_of("file:///public") is None


def test_scopes_of_a_rule_hold_for_a_listed_resource() -> None:
    listed = catalog(tools={"resources:file:///readme": {"scopes": ["files:readme"]}}).reader_of("file:///readme")
    assert listed is not None
    assert listed.scopes == {"files:readme"}


def test_what_one_server_denies_another_may_still_offer() -> None:
    other = Files("other", templates=[ResourceTemplate(name="other", uri_template="note://{+anything}")])
    exposure = {"files": Exposure.model_validate({"deny": ["resources:*"]})}
    found = build([Files(), other], shapes=shapes(exposure)).reader_of("note://a")
    assert found is not None
    assert found.provider == "other"
