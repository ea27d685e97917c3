"""The faults, one row each: what is done, how often, and what it may cost.

| name | what is done | who may fail |
|---|---|---|
| kill | SIGKILL to a worker, which is then started again | calls in flight on it |
| freeze | SIGSTOP to a worker for longer than its leases live, then SIGCONT | calls in flight on it |
| roll | SIGTERM to every worker in turn, each started again before the next | nobody |
| upgrade | a roll to workers that write the next version of session records, and then a roll back | nobody |
| redis-restart | SHUTDOWN of Redis and a start on its append-only file | calls while it is away |
| redis-kill | SIGKILL to Redis and a start on its append-only file | calls while it is away |
| redis-freeze | SIGSTOP to Redis, then SIGCONT | calls while it is away |
| redis-reset | CLIENT KILL of every ordinary connection | calls at that moment |
| pubsub-reset | CLIENT KILL of every pub/sub connection | nobody |
| failover | SIGKILL to a master of a Redis Cluster; started again once its replica serves | calls until then |
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import redis

from tools.chaos.ledger_plugin import LATER
from tools.chaos.testbed import Testbed
from tools.fleet.children import LOOPBACK, Child

FELT_S: Final = 1.0
"""How long a balancer may go on using connections to a worker that is dead: until it has read that they have ended."""

RECOVERY_S: Final = 6.0
"""After Redis is back: how long a worker may take to notice, COMMAND_TIMEOUT included."""


@dataclass(frozen=True)
class Injected:
    """One fault that happened: where (a worker's port, or everywhere), and from when to when it may be felt."""

    name: str
    port: int | None
    began: float
    ended: float
    excuses: bool

    def explains(self, port: int | None, began: float, ended: float) -> bool:
        """Whether a call that ran on that worker in that time may have failed by it."""
        here = self.port is None or self.port == port
        return self.excuses and here and began <= self.ended and ended >= self.began


@dataclass(frozen=True)
class Fault:
    """A row of the table; `inject` returns what was felt where."""

    name: str
    every: float
    """Seconds from one to the next, unless asked otherwise."""

    outage: float
    """Seconds of silence that it may cause by itself, beyond the promise."""

    hold: float
    """Seconds that something stays frozen or away, unless asked otherwise."""

    inject: Callable[[Testbed, float], list[Injected]]
    """Called with how long to hold what is held."""

    def held(self, asked: float) -> float:
        """Seconds to hold."""
        return asked or self.hold


def _kill(testbed: Testbed, _hold: float) -> list[Injected]:
    """A fleet of which every worker is down serves nobody, and that is no fault of the code: it is made whole first."""
    testbed.whole()
    index = random.randrange(len(testbed.workers))
    began = time.time()
    testbed.workers[index].kill()
    ended = time.time()
    testbed.launch(index)
    return [Injected("kill", testbed.ports[index], began, ended + FELT_S, excuses=True)]


def _freeze(testbed: Testbed, hold: float) -> list[Injected]:
    index = random.randrange(len(testbed.workers))
    began = time.time()
    testbed.workers[index].freeze()
    time.sleep(hold)
    testbed.workers[index].thaw()
    return [Injected("freeze", testbed.ports[index], began, time.time() + 1, excuses=True)]


def _roll(testbed: Testbed, _hold: float) -> list[Injected]:
    done = []
    for index, port in enumerate(testbed.ports):
        began = time.time()
        code = testbed.workers[index].stop(timeout=60)
        if code != 0:
            raise RuntimeError(f"a worker left with code {code}\n{testbed.workers[index].tail()}")
        testbed.launch(index)
        testbed.ready(index)
        done.append(Injected("roll", port, began, time.time(), excuses=False))
    return done


def _upgrade(testbed: Testbed, hold: float) -> list[Injected]:
    later = "" if testbed.env.get(LATER) else "1"
    testbed.env[LATER] = later
    return [replace(each, name="upgrade" if later else "downgrade") for each in _roll(testbed, hold)]


def _failover(testbed: Testbed, _hold: float) -> list[Injected]:
    if testbed.cluster is None:
        raise RuntimeError("a failover needs --redis cluster")
    began = time.time()
    away = testbed.cluster.fail_over()
    print(f"  every slot was served again after {away:.1f} s", file=sys.stderr, flush=True)
    return [Injected("failover", None, began, time.time() + RECOVERY_S, excuses=True)]


def _redis_restart(testbed: Testbed, hold: float) -> list[Injected]:
    return _redis_away("redis-restart", testbed, hold, lambda child: _ended(child.stop()))


def _redis_kill(testbed: Testbed, hold: float) -> list[Injected]:
    return _redis_away("redis-kill", testbed, hold, Child.kill)


def _redis_away(name: str, testbed: Testbed, hold: float, end: Callable[[Child], None]) -> list[Injected]:
    began = time.time()
    end(_only_redis(testbed))
    time.sleep(hold)
    testbed.restart_redis()
    return [Injected(name, None, began, time.time() + RECOVERY_S, excuses=True)]


def _redis_freeze(testbed: Testbed, hold: float) -> list[Injected]:
    began = time.time()
    _only_redis(testbed).freeze()
    time.sleep(hold)
    _only_redis(testbed).thaw()
    return [Injected("redis-freeze", None, began, time.time() + RECOVERY_S, excuses=True)]


def _redis_reset(testbed: Testbed, _hold: float) -> list[Injected]:
    return _reset("redis-reset", "normal", testbed, excuses=True)


def _pubsub_reset(testbed: Testbed, _hold: float) -> list[Injected]:
    return _reset("pubsub-reset", "pubsub", testbed, excuses=False)


def _reset(name: str, kind: str, testbed: Testbed, *, excuses: bool) -> list[Injected]:
    began = time.time()
    with redis.Redis(host=LOOPBACK, port=testbed.redis_port) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    return [Injected(name, None, began, time.time() + 1, excuses)]


def _only_redis(testbed: Testbed) -> Child:
    if testbed.redis is None:
        raise RuntimeError("this fault needs --redis single")
    return testbed.redis


def _ended(code: int) -> None:
    if code != 0:
        raise RuntimeError(f"Redis left with code {code}")


FAULTS: Final = {
    fault.name: fault
    for fault in (
        Fault("kill", 10, 0, 0, _kill),
        Fault("freeze", 30, 0, 15, _freeze),
        Fault("roll", 10, 0, 0, _roll),
        Fault("upgrade", 10, 0, 0, _upgrade),
        Fault("failover", 30, 15, 0, _failover),
        Fault("redis-restart", 30, 10, 3, _redis_restart),
        Fault("redis-kill", 30, 10, 3, _redis_kill),
        Fault("redis-freeze", 60, 10, 30, _redis_freeze),
        Fault("redis-reset", 10, 0, 0, _redis_reset),
        Fault("pubsub-reset", 10, 0, 0, _pubsub_reset),
    )
}
