"""Who does not answer is not asked for a while."""

from __future__ import annotations

from types import SimpleNamespace

from switchboard.common.breaker import FAILURES, PAUSE_S, Breaker, Breakers


def test_after_the_pause_one_request_is_let_through_for_all_until_its_outcome_is_known() -> None:
    breaker = Breaker(threshold=2, pause=5)
    for _ in range(2):
        assert breaker.allows(0)
        breaker.failed(0)

    assert not breaker.allows(4.9)
    assert [breaker.allows(5), breaker.allows(5)] == [True, False]
    breaker.succeeded()
    assert breaker.allows(5)


def test_a_failure_that_lasts_doubles_the_pause_up_to_a_bound_and_a_success_resets_it() -> None:
    breaker = Breaker(threshold=1, pause=5, longest=15)
    for now, open_until in ((0, 5), (5, 15), (15, 30), (30, 45)):
        breaker.failed(now, lasting=True)
        assert [breaker.allows(open_until - 0.1), breaker.allows(open_until)] == [False, True]
    breaker.succeeded()
    breaker.failed(50, lasting=True)
    assert breaker.allows(55)


def test_one_name_that_fails_leaves_the_others_alone_and_of_too_many_the_oldest_is_forgotten() -> None:
    time = SimpleNamespace(now=0.0)
    breakers = Breakers(lambda: time.now, remembered=2)
    for name in ("one", "two"):
        for _ in range(FAILURES):
            breakers.failed(name)
    assert [breakers.allows(name) for name in ("one", "two", "three")] == [False, False, True]

    breakers.failed("three")
    assert [breakers.allows(name) for name in ("one", "two")] == [True, False]
    breakers.succeeded("two")
    assert breakers.allows("two")
    time.now += PAUSE_S
    assert breakers.allows("one")
