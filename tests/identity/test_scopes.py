"""Scopes that stand for others."""

from __future__ import annotations

from switchboard.identity.scopes import expanded, missing


def test_mcp_stands_for_everything_but_admin() -> None:
    assert expanded({"mcp"}) == {"mcp", "mcp:tools", "mcp:resources", "mcp:prompts"}


def test_admin_stands_for_mcp_and_all_that_follows() -> None:
    """AUTH.md row 3."""
    assert missing({"admin"}, {"mcp", "mcp:tools"}) == set()


def test_a_part_does_not_stand_for_the_whole() -> None:
    assert missing({"mcp:tools"}, {"mcp", "mcp:tools"}) == {"mcp"}


def test_implications_may_go_in_circles() -> None:
    assert expanded({"a"}, {"a": ["b"], "b": ["a"]}) == {"a", "b"}
