from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchboard.common.hosts import HostPatterns, OriginPatterns, is_loopback, split_host, split_origin


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("Example.COM", ("example.com", "")),
        ("example.com.:8080", ("example.com", "8080")),
        ("[::1]:80", ("[::1]", "80")),
        ("[2001:DB8::1]", ("[2001:db8::1]", "")),
        ("", None),
        (":80", None),
        ("a b", None),
        ("a/b", None),
        ("user@host", None),
        ("a.example:80:80", None),
        ("a.example:x", None),
        ("[::1", None),
        ("[]", None),
        ("[::1]x", None),
        ("a.example,b.example", None),
    ],
)
def test_a_host_is_split_or_refused(written: str, parts: tuple[str, str] | None) -> None:
    assert split_host(written) == parts


@pytest.mark.parametrize("written", ["null", "https://", "https://a.example/path", "a.example", "https://a b", ""])
def test_what_is_no_origin_is_refused(written: str) -> None:
    assert split_origin(written) is None


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.example", "a.example", True),
        ("a.example", "A.EXAMPLE:8443", True),
        ("a.example", "a.example.", True),
        ("a.example:8443", "a.example:8443", True),
        ("a.example:8443", "a.example", False),
        ("a.example:*", "a.example:1", True),
        ("*.a.example", "b.a.example", True),
        ("*.a.example", "c.b.a.example:1", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "evila.example", False),
        ("*.a.example", ".a.example", False),
        ("a.example", "a.example.evil.example", False),
        ("localhost", "localhost.evil.example", False),
        ("localhost", "localhost@evil.example", False),
        ("[::1]", "[::1]:3232", True),
        ("[::1]:3232", "[::1]:3233", False),
        ("*", "anything.example:1", True),
        ("*", "not a host", False),
    ],
)
def test_a_host_pattern_matches_what_it_says(pattern: str, host: str, matches: bool) -> None:
    assert (host in HostPatterns([pattern])) is matches


@pytest.mark.parametrize(
    ("pattern", "origin", "matches"),
    [
        ("https://a.example", "https://a.example", True),
        ("https://a.example", "https://a.example:443", True),
        ("https://a.example:443", "https://a.example", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:8443", False),
        ("http://localhost:*", "http://localhost:6274", True),
        ("http://localhost:*", "http://localhost", True),
        ("http://localhost:*", "http://localhost.evil.example:6274", False),
        ("https://*.a.example", "https://b.a.example", True),
        ("https://*.a.example", "https://a.example", False),
        ("https://a.example/", "https://a.example", True),
        ("null", "null", True),
        ("https://a.example", "null", False),
        ("*", "null", True),
        ("*", "https://anything.example", True),
    ],
)
def test_an_origin_pattern_matches_what_it_says(pattern: str, origin: str, matches: bool) -> None:
    assert (origin in OriginPatterns([pattern])) is matches


@pytest.mark.parametrize("pattern", ["", "a b", "https://a.example", "a.example:port", "a.*.example", "::1"])
def test_a_host_pattern_that_means_nothing_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="host name"):
        HostPatterns([pattern])


@pytest.mark.parametrize(("host", "local"), [("localhost", True), ("a.localhost", True), ("127.3.2.1", True)])
def test_names_of_this_machine_are_loopback(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "localhost.evil.example", "127.0.0.1.evil.example", "", "10.0.0.1"])  # noqa: S104
def test_everything_else_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@given(st.text())
def test_no_text_makes_the_parsers_fail(text: str) -> None:
    patterns, origins = HostPatterns(["*.a.example", "b.example:1"]), OriginPatterns(["https://*.a.example"])
    assert text not in patterns or text.lower().split(":")[0].removesuffix(".").endswith((".a.example", "b.example"))
    assert text not in origins or text.lower().startswith("https://")


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)


@given(st.lists(labels, min_size=1, max_size=4), st.integers(1, 65535))
def test_every_host_matches_itself_with_and_without_its_port(names: list[str], port: int) -> None:
    host = ".".join(names)
    assert f"{host}:{port}" in HostPatterns([host])
    assert f"{host}:{port}" in HostPatterns([f"{host}:{port}"])
    assert host not in HostPatterns([f"{host}:{port}"])
    assert f"x{host}" not in HostPatterns([host])
