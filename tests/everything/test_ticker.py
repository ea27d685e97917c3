"""What the server says unasked, on a clock that the test turns."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from switchboard.errors import StateUnavailable
from switchboard.everything import plugin
from switchboard.everything.ticker import Beat, Ticker, log_messages, resource_updates, stderr_messages, ticking
from switchboard.everything.toolset import Intervals

BEATS = (Beat(10, resource_updates), Beat(20, log_messages), Beat(30, stderr_messages))
UPDATES = (Beat(10, resource_updates),)
ONE, TWO = "test://static/resource/1", "test://static/resource/2"


class TurnedClock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._turned = anyio.Event()
        self._waited_for = anyio.Event()

    def now(self) -> float:
        return self._now

    async def sleep_until(self, moment: float) -> None:
        while self._now < moment:
            self._turned = anyio.Event()
            self._waited_for.set()
            await self._turned.wait()

    async def turn_to(self, seconds: float) -> None:
        """Make it this many seconds after the start; return when the ticker has done what was due."""
        with anyio.fail_after(10):
            await self._waited_for.wait()
            self._now, self._waited_for = 1000.0 + seconds, anyio.Event()
            self._turned.set()
            await self._waited_for.wait()


@pytest.fixture
def clock() -> TurnedClock:
    """A clock at zero seconds."""
    return TurnedClock()


def _uris(stream: Any) -> list[str]:
    return [params["uri"] for method, params in stream.heard if method == "notifications/resources/updated"]


def _levels(stream: Any) -> list[str]:
    return [params["level"] for method, params in stream.heard if method == "notifications/message"]


async def test_subscribed_static_resources_are_updated_every_ten_seconds(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    listener = stream(era="modern", subscriptions=frozenset({TWO, ONE, "test://static/resource/101", "file:///x"}))
    idle = stream(subscriptions=frozenset(), log_level=None, era="modern")
    host.open += [listener, idle]
    async with ticking(host, BEATS, clock):
        await clock.turn_to(9.9)
        assert listener.heard == []
        await clock.turn_to(10)
        assert _uris(listener) == [ONE, TWO]
        await clock.turn_to(20)
        assert _uris(listener) == [ONE, TWO, ONE, TWO]
    assert idle.attempts == 0


async def test_handshake_streams_get_log_messages_every_20_and_stderr_every_30_seconds(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    handshake, modern = stream(), stream(era="modern")
    host.open += [handshake, modern]
    async with ticking(host, BEATS, clock):
        for seconds in range(10, 70, 10):
            await clock.turn_to(seconds)
    assert [method for method, _ in handshake.heard] == [
        "notifications/message",
        "notifications/stderr",
        "notifications/message",
        "notifications/message",
        "notifications/stderr",
    ]
    assert handshake.heard[1][1] == {"content": "Standard error message 1"}
    assert modern.heard == []


async def test_log_messages_keep_to_the_level_of_their_stream(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    everything, severe, silent = stream(log_level="debug"), stream(log_level="critical"), stream(log_level=None)
    host.open += [everything, severe, silent]
    async with ticking(host, (Beat(20, log_messages),), clock):
        for turn in range(1, 5):
            await clock.turn_to(20 * turn)
    assert _levels(everything) == ["debug", "info", "notice", "warning"]
    assert _levels(severe) == ["critical", "alert", "emergency", "critical"]
    assert silent.heard == []


async def test_a_slow_stream_delays_nobody_and_is_not_told_twice(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    gate = anyio.Event()
    slow, quick = stream(subscriptions=frozenset({ONE}), gate=gate), stream(subscriptions=frozenset({ONE}))
    host.open += [slow, quick]
    async with ticking(host, UPDATES, clock):
        await clock.turn_to(10)
        await clock.turn_to(20)
        assert (slow.attempts, slow.heard, len(quick.heard)) == (1, [], 2)
        gate.set()
        with anyio.fail_after(10):
            await slow.told.wait()
            slow.told = anyio.Event()
            await clock.turn_to(30)
            await slow.told.wait()
    assert (len(slow.heard), len(quick.heard)) == (2, 3)


async def test_a_stream_that_never_takes_a_notice_is_given_up_until_the_next(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    stuck = stream(subscriptions=frozenset({ONE}), gate=anyio.Event())
    host.open.append(stuck)
    async with anyio.create_task_group() as group:
        group.start_soon(Ticker(host, UPDATES, clock, patience=0).run)
        for turn in (1, 2):
            await clock.turn_to(10 * turn)
            with anyio.fail_after(10):
                await stuck.left.wait()
            assert stuck.attempts == turn
            stuck.left = anyio.Event()
        group.cancel_scope.cancel()


async def test_a_failing_stream_is_logged_and_ends_nothing(
    host: Any, stream: Callable[..., Any], clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = stream(subscriptions=frozenset({ONE}), failure=RuntimeError("broken pipe"))
    sound = stream(subscriptions=frozenset({ONE}))
    host.open += [broken, sound]
    async with ticking(host, UPDATES, clock):
        await clock.turn_to(10)
        await clock.turn_to(20)
    assert (broken.attempts, len(sound.heard)) == (2, 2)
    assert "broken pipe" in caplog.text


async def test_redis_being_away_is_no_error_of_the_ticker(
    host: Any, stream: Callable[..., Any], clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    host.open.append(stream(subscriptions=frozenset({ONE}), failure=StateUnavailable("away")))
    with caplog.at_level(logging.DEBUG, logger="switchboard.everything"):
        async with ticking(host, UPDATES, clock):
            await clock.turn_to(10)
    assert [(record.levelname, record.message) for record in caplog.records if "everything" in record.name] == [
        ("DEBUG", "notifications.dropped")
    ]


async def test_a_worker_that_was_held_up_says_the_latest_only(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    listener = stream(subscriptions=frozenset({ONE}))
    host.open.append(listener)
    async with ticking(host, UPDATES, clock):
        await clock.turn_to(10)
        await clock.turn_to(57)
        assert _uris(listener) == [ONE, ONE]
        await clock.turn_to(66.9)
        assert _uris(listener) == [ONE, ONE]
        await clock.turn_to(67)
        assert _uris(listener) == [ONE, ONE, ONE]


async def test_all_of_many_streams_are_told(host: Any, stream: Callable[..., Any], clock: TurnedClock) -> None:
    host.open += [stream(subscriptions=frozenset({ONE})) for _ in range(250)]
    async with ticking(host, UPDATES, clock):
        await clock.turn_to(10)
        with anyio.fail_after(10):
            for listener in host.open:
                await listener.told.wait()
    assert all(_uris(listener) == [ONE] for listener in host.open)


async def test_five_thousand_streams_are_told_a_few_at_a_time(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    now = most = 0

    class Counting:
        era = "modern"
        log_level = None
        subscriptions = frozenset({ONE})
        told = False

        async def notify(self, method: str, params: Any) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await anyio.lowlevel.checkpoint()
            now -= 1
            self.told = True
            if all(each.told for each in host.open):
                done.set()

    done = anyio.Event()
    host.open += [Counting() for _ in range(5000)]
    async with ticking(host, UPDATES, clock):
        await clock.turn_to(10)
        with anyio.fail_after(30):
            await done.wait()
    assert 1 < most <= 32


async def test_stopping_does_not_wait_for_a_stream_that_hangs(
    host: Any, stream: Callable[..., Any], clock: TurnedClock
) -> None:
    stuck = stream(subscriptions=frozenset({ONE}), gate=anyio.Event())
    host.open.append(stuck)
    with anyio.fail_after(10):
        async with ticking(host, UPDATES, clock):
            await clock.turn_to(10)
    assert (stuck.attempts, stuck.heard) == (1, [])


async def test_the_plugin_ticks_while_it_runs_as_often_as_it_is_configured(
    host: Any, stream: Callable[..., Any]
) -> None:
    listener = stream(era="modern", subscriptions=frozenset({TWO}))
    host.open.append(listener)
    with anyio.fail_after(10):
        async with plugin({"resource_updates": 0.1}).running(host):
            await listener.told.wait()
    assert _uris(listener)[0] == TWO


def test_lines_of_standard_error_are_told_only_where_that_is_asked_for() -> None:
    assert [beat.notices for beat in Intervals().beats()] == [resource_updates, log_messages]
    asked = Intervals.model_validate({"stderr_messages": 30}).beats()
    assert [beat.notices for beat in asked] == [resource_updates, log_messages, stderr_messages]
