"""What identifies a person, and what identifies a person with a client."""

from __future__ import annotations

import json

from switchboard.identity import Principal


def test_a_person_is_the_same_with_any_client_and_any_scopes() -> None:
    desk = Principal("https://idp.example", "alice", "desk", frozenset({"mcp"}))
    phone = Principal("https://idp.example", "alice", "phone", expires_at=1.0)

    assert desk.person == phone.person
    assert json.loads(desk.person) == ["https://idp.example", "alice"]
    assert desk.owner != phone.owner


def test_equal_subjects_of_two_issuers_are_two_people() -> None:
    assert Principal("https://a.example", "alice", "c").person != Principal("https://b.example", "alice", "c").person


def test_asking_for_the_person_changes_nothing_that_principals_are_compared_by() -> None:
    asked, unasked = Principal("i", "alice", "c"), Principal("i", "alice", "c")
    assert asked.person is asked.person

    assert asked == unasked
    assert hash(asked) == hash(unasked)
    assert repr(asked) == repr(unasked)
