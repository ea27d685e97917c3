"""Which of several URLs to take: those that answer, in turn, and one that did not after a while again."""

from __future__ import annotations

import httpx2

from switchboard.backends.transports.endpoints import AVOIDED_S, Endpoints

A, B, C = (httpx2.URL(f"http://{name}.example/mcp") for name in "abc")


def endpoints(now: list[float]) -> Endpoints:
    return Endpoints([str(url) for url in (A, B, C)], 1000, clock=lambda: now[0])


def test_urls_take_turns() -> None:
    one = endpoints([0.0])
    assert [one.choose() for _ in range(4)] == [A, B, C, A]


def test_one_that_did_not_answer_is_left_alone_for_a_while_and_then_takes_its_turn_again() -> None:
    now = [0.0]
    one = endpoints(now)
    one.avoid(B)
    assert {one.choose() for _ in range(6)} == {A, C}
    now[0] = AVOIDED_S + 0.1
    assert {one.choose() for _ in range(6)} == {A, B, C}


def test_one_that_answered_is_taken_at_once() -> None:
    one = endpoints([0.0])
    one.avoid(B)
    one.answered(B)
    assert {one.choose() for _ in range(6)} == {A, B, C}


def test_when_none_answers_all_are_tried() -> None:
    one = endpoints([0.0])
    for url in (A, B, C):
        one.avoid(url)
    assert {one.choose() for _ in range(6)} == {A, B, C}


def test_whoever_answered_lately_is_tried_before_whoever_did_not() -> None:
    one = endpoints([0.0])
    one.avoid(B)
    assert one.others([A]) == [C, B]
