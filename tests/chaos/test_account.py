"""The account finds every kind of loss: each story here has one, and the last has none."""

from __future__ import annotations

from typing import Any

import pytest

from tools.chaos.account import Account, account, believed, routes, troubles
from tools.chaos.faults import Injected
from tools.chaos.observations import Call, Incident, Lag, Observation, ReceivedEvent
from tools.chaos.report import promises

KEPT = Incident("h0", "session kept", 100)


def call(seq: int = 1, how: str = "ok", kind: str = "note", **more: Any) -> Call:
    return Call("h0", "handshake", seq, kind, began=10, ended=11, how=how, **more)


def row(what: str, seq: int = 1, n: int = 0, client: str = "h0") -> dict[str, Any]:
    return {"what": what, "client": client, "seq": seq, "n": n, "worker": "4001", "t": 10.0}


def done(seq: int = 1, client: str = "h0") -> list[dict[str, Any]]:
    return [row("started", seq, client=client), row("done", seq, client=client)]


def kill(port: int = 4001, at: float = 10.5) -> Injected:
    return Injected("kill", port, at, at, excuses=True)


def told(observations: list[Observation], rows: list[dict[str, Any]], faults: list[Injected] | None = None) -> Account:
    return account([KEPT, *observations], rows, {"h0-1": (4001,)}, faults or [])


def broken(sums: Account) -> list[str]:
    return [promise.what for promise in promises(sums, 0) if not promise.kept]


def test_calls_that_are_answered_and_events_that_come_once_break_no_promise() -> None:
    observations: list[Observation] = [call(), call(2, kind="count", numbers=[1, 2]), call(3, kind="say")]
    received = [ReceivedEvent("h0", "handshake", 3, 10.2), ReceivedEvent("m1", "modern", 8, 10.4)]
    emitted = [row("emitted", 2, 1), row("emitted", 2, 2), row("said", 3, 3), row("bumped", 7, 7, "m1")]
    sums = told([*observations, *received], [*done(), *done(2), *done(3), *emitted])
    assert broken(sums) == []
    assert (sums.calls, sums.answered, sums.events) == (3, 3, 4)


def test_a_call_that_fails_on_the_killed_worker_is_explained_by_the_kill() -> None:
    sums = told([call(how="HTTP 502")], [row("started")], [kill()])
    assert broken(sums) == []
    assert sums.failed == {("HTTP 502", "kill"): 1}


@pytest.mark.parametrize("fault", [kill(port=4002), kill(at=9.0), kill(at=12.0)])
def test_a_call_that_fails_elsewhere_or_at_another_time_is_not(fault: Injected) -> None:
    sums = told([call(how="HTTP 502")], [row("started")], [fault])
    assert broken(sums) == ["no call fails that was not in flight where a fault struck"]


def test_a_rolling_restart_explains_no_failure() -> None:
    sums = told([call(how="HTTP 502")], [], [Injected("roll", 4001, 10, 11, excuses=False)])
    assert broken(sums) == ["no call fails that was not in flight where a fault struck"]
    assert sums.unexplained == ["h0-1 note: HTTP 502; at 4001, 1.0 s long, ended 1.0 s after roll at 4001"]


def test_a_call_that_never_reached_a_handler_is_placed_by_the_balancers_log() -> None:
    sums = told([call(how="HTTP 502")], [], [kill()])
    assert sums.unexplained == []


def test_a_call_done_at_the_server_that_failed_at_the_client_is_counted() -> None:
    assert told([call(how="connection cut")], done(), [kill()]).done_but_failed == 1


def test_a_call_that_was_done_twice_is_found() -> None:
    assert broken(told([call()], [*done(), *done()])) == ["no call is done twice"]


def test_an_answer_to_a_call_that_was_never_done_is_found() -> None:
    assert broken(told([call()], [row("started")])) == ["what was answered was done"]


def test_a_lost_session_is_found() -> None:
    assert broken(told([Incident("h0", "session lost", 10, "404")], [])) == ["no handshake session is lost"]


def test_a_run_without_any_session_kept_proves_nothing() -> None:
    assert broken(account([], [], {}, [])) == ["no handshake session is lost"]


@pytest.mark.parametrize("numbers", [[1], [2], []])
def test_progress_that_did_not_come_is_found(numbers: list[int]) -> None:
    rows = [*done(), row("emitted", 1, 1), row("emitted", 1, 2)]
    assert broken(told([call(kind="count", numbers=numbers)], rows)) == ["no event is lost"]


@pytest.mark.parametrize("numbers", [[1, 1, 2], [2, 1]])
def test_progress_that_came_twice_or_out_of_order_is_found(numbers: list[int]) -> None:
    rows = [*done(), row("emitted", 1, 1), row("emitted", 1, 2)]
    assert broken(told([call(kind="count", numbers=numbers)], rows)) == ["no event comes twice"]


def test_a_stream_that_its_client_could_have_resumed_is_owed_what_was_emitted() -> None:
    rows = [row("started"), row("emitted", 1, 1)]
    resumable = call(how="connection cut", kind="count", resumable=True)
    assert broken(told([resumable], rows, [kill()])) == ["no event is lost"]
    assert broken(told([call(how="connection cut", kind="count")], rows, [kill()])) == []


def test_a_notification_that_was_said_and_not_heard_is_found() -> None:
    assert broken(told([], [row("said", 4, 4)])) == ["no event is lost"]


def test_a_notification_that_was_heard_twice_is_found() -> None:
    received: list[Observation] = [ReceivedEvent("h0", "handshake", 4, 10.2)] * 2
    assert broken(told(received, [row("said", 4, 4)])) == ["no event comes twice"]


def test_a_change_that_a_listener_never_looked_at_is_found() -> None:
    seen: list[Observation] = [ReceivedEvent("m1", "modern", 5, 10.2)]
    assert broken(told(seen, [row("bumped", 6, 6, "m1")])) == ["no event is lost"]


def test_a_silence_is_measured_against_the_promise_and_the_clients_own_lag() -> None:
    assert broken(told([call(silence=22.0)], done())) == ["no silence over 20.0 s"]
    assert broken(told([call(silence=22.0), Lag(3.0)], done())) == []


def test_a_silence_may_be_allowed_for() -> None:
    sums = told([call(silence=22.0)], done())
    assert [promise.what for promise in promises(sums, 0, 30) if not promise.kept] == []


def test_a_session_that_is_told_lost_twice_is_one_lost_session() -> None:
    gone: list[Observation] = [Incident("h0", "session lost", 10, "404"), Incident("h0", "session lost", 11, "404")]
    assert told(gone, []).sessions_lost == ["h0: 404"]


def test_a_server_without_a_ledger_is_taken_at_its_word() -> None:
    observations: list[Observation] = [
        KEPT,
        call(),
        call(2, kind="count", numbers=[1, 2, 3, 4, 5]),
        call(3, how="HTTP 502"),
    ]
    sums = account(observations, believed(observations), {"h0-3": (4001,)}, [kill()])
    assert broken(sums) == ["no event is lost"]
    assert sums.events_lost == ["h0-2: progress 6"]


@pytest.mark.parametrize(("how", "explained"), [("HTTP 404 to DELETE", True), ("HTTP 404", False)])
def test_an_ending_that_the_balancer_repeated_is_explained_by_the_first_worker_too(how: str, explained: bool) -> None:
    sums = account([KEPT, call(how=how, kind="session")], [], {"h0-1": (4002, 4001)}, [kill()])
    assert (broken(sums) == []) is explained


def test_the_balancers_log_says_where_a_call_went() -> None:
    lines = [
        "127.0.0.1:4001, 127.0.0.1:4002 POST /mcp 200 abc h0-1",
        "127.0.0.1:4001 POST /mcp 502 abc h0-2",
        "127.0.0.1:4001 GET /mcp 200 abc -",
        "- POST /mcp 400 - h0-9",
    ]
    assert routes(lines) == {"h0-1": (4002, 4001), "h0-2": (4001,)}


def test_the_balancers_errors_are_counted_by_kind() -> None:
    line = (
        "2026/01/01 00:00:00 [error] 7#7: *12 upstream prematurely closed connection while reading response header "
        "from upstream, client: 127.0.0.1, server: "
    )
    assert troubles([line, line, "[warn] something else"]) == {
        "upstream prematurely closed connection while reading response header from upstream": 2
    }
