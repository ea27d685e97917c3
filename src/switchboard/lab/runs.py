"""Runs of the lab: made, ended, found again, and what became of every scenario in one, with its verdict."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from switchboard.lab.addresses import OPEN
from switchboard.lab.application import CLIENT, USER_AGENT
from switchboard.lab.hops import Hop
from switchboard.lab.recorder import KEPT_S, MOST_TEXT, Recorder
from switchboard.lab.rules import RULES, Judgement, judge, verdict
from switchboard.lab.scenarios import BY_NAME, SCENARIOS, Scenario
from switchboard.state import State

MOST_RUNS: Final = 1_000
"""Runs that may be made in a day."""

SHOWN_RUNS: Final = 50
"""Runs, the newest, of which the page of clients is made."""

IDLE_S: Final = 60.0
"""A client that asked nothing for so long is taken to have ended, where nobody says when it does."""

MOST_READ: Final = 10_000
"""Hops that the page of clients reads; runs beyond are left out, the oldest first."""

_RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,64}")


CANNOT_RUN: Final = 126
"""From here on a shell's exit codes say that a command cannot be run, is not there, or was ended by a signal."""


@dataclass(frozen=True, slots=True)
class End:
    """How a client's attempt at a scenario ended.

    Args:
        exit_code: of its process; negative for a signal.
        output: the last it wrote.
        timed_out: it was ended by whoever ran it, because it took too long.
    """

    exit_code: int
    output: str
    timed_out: bool = False

    @property
    def crashed(self) -> bool:
        """Whether a signal ended it, or it could not be started, as a shell says so."""
        return not self.timed_out and (self.exit_code < 0 or self.exit_code >= CANNOT_RUN)


class Runs:
    """The runs of the fleet, in Redis for a day.

    All of it raises `StateUnavailable` when Redis cannot be reached.
    """

    def __init__(self, state: State, recorder: Recorder, clock: Callable[[], float] = time.time) -> None:
        self._state = state
        self._recorder = recorder
        self._clock = clock

    async def make(self, *, auto: bool) -> str | None:
        """A new run; `None` when there were as many as a day may have.

        Args:
            auto: its issuers allow by themselves.
        """
        state, keys = self._state, self._state.keys
        run = secrets.token_urlsafe(9)
        with state.guard():
            made = await state.redis.incr(keys.lab_runs())
            if made == 1:
                await state.redis.expire(keys.lab_runs(), KEPT_S)
            if made > MOST_RUNS:
                return None
            async with state.redis.pipeline(transaction=False) as pipe:
                pipe.hset(keys.lab_run(run), mapping={"made": int(self._clock()), "auto": int(auto)})
                pipe.expire(keys.lab_run(run), KEPT_S)
                pipe.lpush(keys.lab_newest(), run)
                pipe.ltrim(keys.lab_newest(), 0, SHOWN_RUNS - 1)
                pipe.expire(keys.lab_newest(), KEPT_S)
                await pipe.execute()
        return run

    async def exists(self, run: str) -> bool:
        """Whether there is such a run, or it is the open one, which always is."""
        if run == OPEN:
            return True
        if _RUN_ID.fullmatch(run) is None:
            return False
        with self._state.guard():
            return bool(await self._state.redis.exists(self._state.keys.lab_run(run)))

    async def allows(self, run: str) -> bool:
        """Whether its issuers allow by themselves."""
        with self._state.guard():
            found: Any = await self._state.redis.hget(self._state.keys.lab_run(run), "auto")
        return bool(found == "1")

    async def end(self, run: str, scenario: str, end: End) -> None:
        """A client does nothing more in a scenario."""
        kept = json.dumps({**asdict(end), "output": end.output[-MOST_TEXT:]})
        with self._state.guard():
            await self._state.redis.hset(self._state.keys.lab_run(run), f"end:{scenario}", kept)

    async def document(self, run: str) -> Mapping[str, Any]:
        """What became of every scenario in a run, with its hops."""
        kept = await self._recorder.hops(run, [scenario.name for scenario in SCENARIOS])
        said = await self._said(run)
        found = [self._became(*pair, said) for pair in zip(SCENARIOS, kept, strict=True)]
        client = _client_of(kept)
        return {"run": run, "client": client, "client_id": id_of(client), **_counted(found), "scenarios": found}

    async def scenario(self, run: str, name: str) -> Mapping[str, Any]:
        """What became of one scenario in a run, as its document has it."""
        (hops,) = await self._recorder.hops(run, [name])
        return self._became(BY_NAME[name], hops, await self._said(run))

    async def _said(self, run: str) -> Mapping[str, str]:
        """What is kept of a run itself, how clients ended among it."""
        with self._state.guard():
            found: Any = await self._state.redis.hgetall(self._state.keys.lab_run(run))
        return dict(found)

    async def clients(self) -> Sequence[Mapping[str, Any]]:
        """Each client of the newest runs, and of every scenario that it tried the newest verdict, with its run."""
        with self._state.guard():
            newest: Any = await self._state.redis.lrange(self._state.keys.lab_newest(), 0, SHOWN_RUNS - 1)
        found: dict[str, dict[str, Mapping[str, Any]]] = {}
        left = MOST_READ
        for run in (OPEN, *newest):
            left -= await self._recorder.count(run, [scenario.name for scenario in SCENARIOS])
            if left < 0:
                break
            document = await self.document(run)
            tried = found.setdefault(document["client"], {}) if document["client"] else {}
            for scenario in document["scenarios"]:
                if scenario["hops"]:
                    tried.setdefault(scenario["name"], {"run": run, **_in_short(scenario)})
        listed = []
        for client, tried in sorted(found.items()):
            scenarios = [tried.get(each.name, _untried(each)) for each in SCENARIOS]
            listed.append({"client": client, "id": id_of(client), **_counted(scenarios), "scenarios": scenarios})
        return listed

    async def client(self, client_id: str) -> Mapping[str, Any] | None:
        """One of them; `None` if no client of the newest runs has this id."""
        return next((each for each in await self.clients() if each["id"] == client_id), None)

    def _became(self, scenario: Scenario, hops: Sequence[Hop], said: Mapping[str, str]) -> dict[str, Any]:
        told = said.get(f"end:{scenario.name}")
        end = End(**json.loads(told)) if told else None
        ended = end is not None or (bool(hops) and self._clock() - hops[-1].at > IDLE_S)
        judged = judge(RULES, scenario.judged, hops, ended=ended)
        return {
            "name": scenario.name,
            "title": scenario.title,
            "expects": scenario.expects,
            "spec_version": scenario.spec_version,
            "verdict": _verdict(judged, hops, end),
            "ended": end and asdict(end),
            "rules": [{**asdict(each), "text": RULES[each.rule].text, "url": RULES[each.rule].url} for each in judged],
            "hops": [{**asdict(hop), "place": hop.place.value} for hop in hops],
        }


def _verdict(judged: Sequence[Judgement], hops: Sequence[Hop], end: End | None) -> str:
    """A client that crashed has not done what it had not done until then; a rule that it broke stays broken."""
    if not hops:
        return "not_tried"
    found = verdict(judged)
    return "crashed" if end is not None and end.crashed and found != "failed" else found


def id_of(client: str) -> str:
    """What stands for a client's name in an address; the name is anybody's text."""
    return hashlib.sha256(client.encode(errors="replace")).hexdigest()[:12]


def _counted(scenarios: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    verdicts = [each["verdict"] for each in scenarios]
    return {verdict: verdicts.count(verdict) for verdict in ("passed", "failed", "crashed", "not_tried")}


def is_scenario(name: str) -> bool:
    """Whether there is a scenario of this name."""
    return name in BY_NAME


def _client_of(kept: Sequence[Sequence[Hop]]) -> str:
    """What a client called itself: to the MCP server, else when it registered, else in its headers."""
    hops = [hop for scenario in kept for hop in scenario]
    names = (
        *(hop.sent.get(CLIENT, "") for hop in hops),
        *(hop.answered.get("client_name", "") for hop in hops),
        *(hop.sent.get(USER_AGENT, "") for hop in hops),
    )
    return next(filter(None, names), "")


def _in_short(scenario: Mapping[str, Any]) -> Mapping[str, Any]:
    broken = next((each for each in scenario["rules"] if each["state"] == "broken"), None)
    return {name: scenario[name] for name in ("name", "title", "verdict")} | {"broken": broken}


def _untried(scenario: Scenario) -> Mapping[str, Any]:
    return {"name": scenario.name, "title": scenario.title, "verdict": "not_tried", "broken": None, "run": ""}
