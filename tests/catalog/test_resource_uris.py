"""URIs are the same by RFC 3986 §6.2.2, and each is read under the form that its provider listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.caching import CacheHint
from mcp_types import Prompt, Resource, ResourceTemplate, ServerCapabilities, Tool
from pydantic import AnyUrl

from switchboard.backends.config import Backend, Stdio
from switchboard.backends.offer.offer import BackendOffer, offered
from switchboard.catalog import build
from switchboard.config import Prefix
from switchboard.plugins import Kind
from switchboard.protocol.resource_uris import Template, canonical, equal


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


SAME = [
    ("file:///my docs/a.txt", "file:///my%20docs/a.txt"),
    ("KBInfo://Summary", "kbinfo://Summary"),
    ("kb://Summary", "kb://summary"),
    ("http://example.com", "http://example.com/"),
    ("HTTP://EXAMPLE.com:80/%7euser", "http://example.com/~user"),
    ("https://example.com:443/a", "https://example.com/a"),
    ("x://a/b/../c", "x://a/c"),
    ("x://a/./b/.", "x://a/b/"),
    ("x:a%2fb", "x:a%2Fb"),
    ("docs://caf\u00e9/x", "docs://caf%c3%a9/x"),
    ("x://h/50%", "x://h/50%25"),
    ("x://h/a|b", "x://h/a%7Cb"),
    ("x://h/?q=\u00fc#\u00fc", "x://h/?q=%C3%BC#%C3%BC"),
    ("urn:isbn:1", "URN:isbn:1"),
    ("file://localhost/a", "file:///a"),
    ("http://m\u00fcller.de/", "http://xn--mller-kva.de/"),
    ("file:///C:\\a b", "file:///C:/a%20b"),
]
DIFFERENT = [
    ("x:/a%2Fb", "x:/a/b"),
    ("urn:isbn:A", "urn:isbn:a"),
    ("x://h/A", "x://h/a"),
    ("x://h/a", "x://h/a/"),
    ("x://h/a?b", "x://h/a"),
    ("x://h:80/a", "x://h/a"),
    ("x://h/a#b", "x://h/a"),
    ("http://example.com:8080/", "http://example.com/"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_these_are_the_same(one: str, other: str) -> None:
    assert canonical(one) == canonical(other)
    assert equal(one, ["a:b", other]) == [other]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_these_are_not(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize("uri", [one for pair in SAME for one in pair])
def test_a_uri_is_the_same_as_what_a_client_that_parses_urls_makes_of_it(uri: str) -> None:
    assert canonical(str(AnyUrl(uri))) == canonical(uri)


@given(st.text(max_size=40))
def test_the_canonical_form_of_any_text_is_its_own(text: str) -> None:
    once = canonical(text)
    assert canonical(once) == once


@pytest.mark.parametrize(
    ("template", "uri", "own"),
    [
        ("docs://caf\u00e9/{name}", "docs://caf%C3%A9/n%20m", "docs://caf\u00e9/n%20m"),
        ("docs://caf\u00e9/{name}", "DOCS://caf\u00e9/n", "docs://caf\u00e9/n"),
        ("docs://caf\u00e9/{name}", "docs://caf\u00e9/n", "docs://caf\u00e9/n"),
        ("KB://{name}", "kb://Summary", "KB://Summary"),
        ("file:///my docs/{name}.txt", "file:///my%20docs/a.txt", "file:///my docs/a.txt"),
        ("http://Example.com/{+path}{?q}", "http://example.com:80/a/b?q=1", "http://Example.com/a/b?q=1"),
        ("docs://caf\u00e9/{name}", "docs://other/n", None),
        ("urn:x:{a}", "urn:X:b", None),
    ],
)
def test_a_template_gives_the_form_that_its_provider_knows(template: str, uri: str, own: str | None) -> None:
    assert Template.parse(template).own(uri) == own


@pytest.mark.parametrize(("listed", "asked"), SAME + [(other, one) for one, other in SAME])
def test_a_listed_resource_is_read_under_the_form_that_was_listed(listed: str, asked: str) -> None:
    entry = build([Offered("a", resources=[Resource(uri=listed, name="x")])]).reader_of(asked)
    assert entry is not None
    assert (entry.provider, entry.name) == ("a", listed)


def test_the_form_that_was_listed_as_it_is_asked_for_comes_first() -> None:
    uris = ["kb://Summary", "kb://summary"]
    catalog = build([Offered("a", resources=[Resource(uri=uri, name=uri) for uri in uris])])
    found = [catalog.reader_of(uri) for uri in (*uris, "KB://SUMMARY")]
    assert [entry.name for entry in found if entry is not None] == ["kb://Summary", "kb://summary", "kb://Summary"]


def test_a_resource_that_another_provider_has_in_another_form_is_rejected() -> None:
    one, other = (
        Offered(name, resources=[Resource(uri=uri, name="x")]) for name, uri in zip("ab", SAME[0], strict=True)
    )
    catalog = build([one, other])
    assert [(each.provider, each.name) for each in catalog.rejected] == [("b", SAME[0][1])]
    found = catalog.reader_of(SAME[0][1])
    assert found is not None
    assert (found.provider, found.name) == ("a", SAME[0][0])


def test_a_backend_follows_a_resource_under_its_own_form() -> None:
    found = {
        "tools": [],
        "prompts": [],
        "resources": [Resource(uri="file:///my docs/a", name="x")],
        "templates": [ResourceTemplate(uri_template="docs://caf\u00e9/{name}", name="t")],
    }
    offer: BackendOffer = offered(
        Backend("b", Stdio("x")), found, instructions=None, modern=False, capabilities=ServerCapabilities()
    )
    assert offer.own("file:///my%20docs/a") == "file:///my docs/a"
    assert offer.own("docs://caf%C3%A9/n") == "docs://caf\u00e9/n"
    assert offer.own("docs://other") is None
