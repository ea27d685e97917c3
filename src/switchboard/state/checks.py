"""What about this Redis may lose what it holds: warned of, never refused.

Asked of every master. The policy and the memory stand in INFO; whether snapshots are made is known to CONFIG alone,
which managed services and careful administrators forbid: then it is said that it cannot be known.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.asyncio.cluster import RedisCluster
from redis.exceptions import ResponseError

from switchboard.errors import StateUnavailable

if TYPE_CHECKING:
    from switchboard.state.connect import State

REMEMBERED_S: Final = 30.0
CHECK_S: Final = 2.0
NEARLY_FULL: Final = 0.85
"""The share of maxmemory that is warned of."""

LEAST_REDIS: Final = (7, 0)
_NEEDED_FOR: Final = "PEXPIRE with NX and GT, SPUBLISH in a cluster"
"""The newest of the commands in use; next are XTRIM MINID, GETDEL, GETEX and ZADD GT, of 6.2."""

_INFO_FORBIDDEN: Final = (
    "Redis refuses INFO, so it cannot be known whether it evicts, persists or is nearly full: allow +info, or see for"
    " yourself that maxmemory-policy is noeviction and that appendonly is yes"
)
_EVICTS: Final = (
    "maxmemory-policy is {policy}: when its memory is full, Redis drops sessions, tokens and grants that are in use."
    " Set maxmemory-policy to noeviction"
)
_FORGETS: Final = (
    "Redis keeps nothing on disk (no append-only file, no snapshots): when it restarts, every session, token and grant"
    " is lost. Set appendonly to yes"
)
_MAY_FORGET: Final = (
    "Redis has no append-only file, and refuses CONFIG, so it cannot be known whether it makes snapshots. Set"
    " appendonly to yes, or see for yourself that its persistence is on: without it a restart loses everything"
)
_NEARLY_FULL: Final = (
    "Redis uses {share:.0%} of its maxmemory: when that is full, it refuses new sessions and answers, or drops some."
    " Raise maxmemory, or lower SESSION_TTL or MAX_SESSIONS"
)

log = structlog.get_logger("switchboard.state")


@dataclass(frozen=True, slots=True)
class Master:
    """What one master says of itself."""

    info: Mapping[str, Any] | None
    """Its memory and persistence, as INFO has them; `None` when it refuses to say."""
    snapshots: str | None = None
    """When it makes snapshots, as `CONFIG GET save` has it; `None` when it refuses to say."""


def risks(masters: Sequence[Master]) -> dict[str, str]:
    """What may be lost and what to set, by kind; how many masters it concerns is said where there are several."""
    found: dict[str, list[str]] = {}
    for master in masters:
        for kind, text in _risks(master):
            found.setdefault(kind, []).append(text)
    several = len(masters) > 1
    return {
        kind: f"{texts[0]} ({len(texts)} of {len(masters)} masters)" if several else texts[0]
        for kind, texts in found.items()
    }


def _risks(master: Master) -> Iterator[tuple[str, str]]:
    info = master.info
    if info is None:
        yield "unknown", _INFO_FORBIDDEN
        return
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield "eviction", _EVICTS.format(policy=policy)
    if not int(info.get("aof_enabled", 0)) and not master.snapshots:
        yield "persistence", _MAY_FORGET if master.snapshots is None else _FORGETS
    most = int(info.get("maxmemory", 0))
    if most and (share := int(info.get("used_memory", 0)) / most) >= NEARLY_FULL:
        yield "memory", _NEARLY_FULL.format(share=share)


@dataclass
class StateChecks:
    """The risks of one worker's Redis, looked at now and then."""

    state: State
    clock: Callable[[], float] = time.monotonic
    _found: Mapping[str, str] = field(default_factory=dict)
    _looked: float | None = None

    async def warnings(self) -> tuple[str, ...]:
        """What to warn of; asked of Redis again when that is REMEMBERED_S old. While Redis is away, what it was."""
        if self.state.kind == "memory://":
            return ()
        if self._looked is None or self.clock() - self._looked >= REMEMBERED_S:
            self._looked = self.clock()
            await self._look()
        return tuple(self._found.values())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(CHECK_S):
                with self.state.guard():
                    found = risks(await _masters(self.state.redis))
        except (StateUnavailable, TimeoutError) as error:
            log.info("redis.risks_unknown", error=str(error) or "no answer")
            return
        for kind in found.keys() - self._found.keys():
            log.warning("redis.risk_found", kind=kind, risk=found[kind])
        for kind in self._found.keys() - found.keys():
            log.info("redis.risk_ended", kind=kind)
        self._found = found


async def outdated(state: State) -> str | None:
    """What is wrong with the version of Redis; `None` where nothing is, or where it does not say.

    A Valkey says which Redis it goes on from, as `redis_version`.

    Raises:
        StateUnavailable: Redis cannot be asked now.
    """
    with state.guard():
        found = [await _version(client, where) for client, where in await _places(state.redis)]
    old = [version for version in found if version and _numbers(version) < LEAST_REDIS]
    if not old:
        return None
    return f"Redis is {old[0]}: {'.'.join(map(str, LEAST_REDIS))} or newer is needed, or any Valkey ({_NEEDED_FOR})"


async def _version(client: Any, where: Mapping[str, Any]) -> str:
    try:
        return str((await client.info("server", **where)).get("redis_version", ""))
    except ResponseError as error:
        _must_be_refused(error)
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


async def _places(client: Any) -> list[tuple[Any, Mapping[str, Any]]]:
    """Every master, as what asks it."""
    if not isinstance(client, RedisCluster):
        return [(client, {})]
    await client.initialize()
    return [(client, {"target_nodes": node}) for node in client.get_primaries()]


async def _masters(client: Any) -> list[Master]:
    return list(await asyncio.gather(*(_master(*place) for place in await _places(client))))


async def _master(client: Any, where: Mapping[str, Any]) -> Master:
    try:
        info = {**await client.info("memory", **where), **await client.info("persistence", **where)}
    except ResponseError as error:
        _must_be_refused(error)
        return Master(None)
    try:
        return Master(info, str((await client.config_get("save", **where)).get("save", "")))
    except ResponseError as error:
        _must_be_refused(error)
        return Master(info)


def _must_be_refused(error: ResponseError) -> None:
    """A command that an ACL forbids, or that was taken away or renamed; anything else is no refusal."""
    text = str(error).lower()
    if not any(sign in text for sign in ("unknown command", "permission", "not allowed", "disabled", "unsupported")):
        raise error
