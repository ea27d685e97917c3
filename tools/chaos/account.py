"""The account: compares what clients observed, what the ledger says was done, and which faults were injected."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tools.chaos.faults import Injected
from tools.chaos.load import STEPS
from tools.chaos.observations import Call, Incident, Lag, Observation, ReceivedEvent
from tools.chaos.short_session import REPEATABLE

_SERVED: Final = re.compile(r"^(?P<upstream>\S.*?) (?:POST|GET|DELETE) \S+ \d+ \S+ (?P<call>\S+)$")
_PORT: Final = re.compile(r":(\d+)")
_TROUBLE: Final = re.compile(r"\[error\] .*?: \*\d+ (.+?) while (.+?), client:")

NOT_IN_LEDGER: Final = ("value", "session")
"""Calls that the ledger does not know."""

Delays = dict[str, list[float]]
Ports = tuple[int | None, ...]


@dataclass
class Account:
    """The sums. Each list holds what would be a broken promise, with enough to look it up."""

    calls: int = 0
    answered: int = 0
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(how it was told, the fault that explains it) → how many."""

    unexplained: list[str] = field(default_factory=list)
    sessions: int = 0
    sessions_lost: list[str] = field(default_factory=list)
    events: int = 0
    events_lost: list[str] = field(default_factory=list)
    events_twice: list[str] = field(default_factory=list)
    done_twice: list[str] = field(default_factory=list)
    done_but_failed: int = 0
    answered_undone: list[str] = field(default_factory=list)
    reopened: int = 0
    resumed: int = 0
    silences: Delays = field(default_factory=lambda: defaultdict(list))
    """What was waited for → seconds without a sign of it."""

    lag: float = 0.0
    balancer: Counter[str] = field(default_factory=Counter)

    @property
    def longest(self) -> float:
        """The longest silence of all."""
        return max((max(each) for each in self.silences.values() if each), default=0.0)


def routes(lines: Iterable[str]) -> dict[str, Ports]:
    """Which workers' ports each named call was given to, from the balancer's log, the last one first."""
    found: dict[str, Ports] = {}
    for line in lines:
        match = _SERVED.match(line)
        if match and match["call"] != "-" and ":" in match["upstream"]:
            found[match["call"]] = tuple(map(int, reversed(_PORT.findall(match["upstream"]))))
    return found


def troubles(lines: Iterable[str]) -> Counter[str]:
    """What the balancer says went wrong before it, by kind."""
    return Counter(f"{match[1]} while {match[2]}" for line in lines if (match := _TROUBLE.search(line)))


def believed(observations: Iterable[Observation]) -> list[dict[str, Any]]:
    """The rows assumed for a server that keeps no ledger: what it answered, it did."""
    rows = []
    for seen in observations:
        if isinstance(seen, Call) and seen.how == "ok" and seen.kind not in NOT_IN_LEDGER:
            row = {"client": seen.client, "seq": seen.seq, "worker": 0, "t": seen.ended}
            rows += [{**row, "what": what, "n": 0} for what in ("started", "done")]
            rows += [{**row, "what": "emitted", "n": n} for n in range(1, STEPS + 1) if seen.kind == "count"]
    return rows


def account(
    observations: Iterable[Observation],
    rows: Sequence[Mapping[str, Any]],
    ports: Mapping[str, Ports],
    faults: Sequence[Injected],
) -> Account:
    """Compare them all."""
    sums = Account()
    calls, received = [], []
    for seen in observations:
        if isinstance(seen, Call):
            calls.append(seen)
        elif isinstance(seen, ReceivedEvent):
            received.append(seen)
        elif isinstance(seen, Lag):
            sums.lag = max(sums.lag, seen.worst)
        else:
            _count_incident(seen, sums)
    ledger = _Ledger(rows)
    for call in calls:
        _count_call(call, sums, ledger, ports, faults)
        _count_progress(call, sums, ledger)
    _count_announced(received, sums, ledger)
    _count_values(received, sums, ledger)
    sums.done_twice = [f"{client}-{seq}" for (client, seq), times in ledger.started.items() if times > 1]
    return sums


class _Ledger:
    """The rows, by what they are asked for."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.started: Counter[tuple[str, int]] = Counter()
        self.done: set[tuple[str, int]] = set()
        self.emitted: dict[tuple[str, int], set[int]] = defaultdict(set)
        self.at: dict[str, dict[str, dict[int, float]]] = {"said": defaultdict(dict), "bumped": defaultdict(dict)}
        self.worker: dict[tuple[str, int], int] = {}
        for row in rows:
            key = (row["client"], row["seq"])
            if row["what"] == "started":
                self.started[key] += 1
                self.worker[key] = int(row["worker"])
            elif row["what"] == "done":
                self.done.add(key)
            elif row["what"] == "emitted":
                self.emitted[key].add(row["n"])
            else:
                self.at[row["what"]][row["client"]][row["n"]] = row["t"]


def _count_incident(incident: Incident, sums: Account) -> None:
    if incident.what == "session lost":
        if all(each.split(":")[0] != incident.client for each in sums.sessions_lost):
            sums.sessions_lost.append(f"{incident.client}: {incident.detail}")
    elif incident.what == "session kept":
        sums.sessions += 1
    else:
        sums.reopened += 1


def _count_call(
    call: Call, sums: Account, ledger: _Ledger, ports: Mapping[str, Ports], faults: Sequence[Injected]
) -> None:
    key, name = (call.client, call.seq), f"{call.client}-{call.seq}"
    sums.calls += 1
    sums.resumed += call.resumed > 0
    sums.silences[f"{call.era} {call.kind}"].append(call.silence)
    if call.how == "ok":
        sums.answered += 1
        if call.kind not in NOT_IN_LEDGER and key not in ledger.done:
            sums.answered_undone.append(name)
        return
    sums.done_but_failed += key in ledger.done
    at = _tried(call, ledger, ports)
    cause = next((fault.name for fault in faults for port in at if fault.explains(port, call.began, call.ended)), "")
    sums.failed[call.how, cause] += 1
    if not cause:
        sums.unexplained.append(f"{name} {call.kind}: {call.how}; {_around(call, at[0], faults)}")


def _tried(call: Call, ledger: _Ledger, ports: Mapping[str, Ports]) -> Ports:
    """The ports of the workers at which it may have failed, the last one first; `None` where nobody knows."""
    name = f"{call.client}-{call.seq}"
    if call.how.startswith("answer to a question") and (answer := ports.get(f"{name}-answer")):
        return answer[:1]
    if worker := ledger.worker.get((call.client, call.seq)):
        return (worker,)
    given = ports.get(name, (None,))
    return given if call.how.endswith(REPEATABLE) else given[:1]


def _around(call: Call, port: int | None, faults: Sequence[Injected]) -> str:
    """Where and how long the call ran, and what had been done to the fleet last before it ended."""
    earlier = [fault for fault in faults if fault.began <= call.ended]
    last = f"{call.ended - earlier[-1].began:.1f} s after {earlier[-1].name} at {earlier[-1].port}" if earlier else ""
    return f"at {port}, {call.ended - call.began:.1f} s long, ended {last or 'before any fault'}"


def _count_progress(call: Call, sums: Account, ledger: _Ledger) -> None:
    """A stream that was resumed to its end, or could have been, may miss nothing that was emitted."""
    if call.kind != "count":
        return
    name = f"{call.client}-{call.seq}"
    sums.events += len(call.numbers)
    sums.events_twice += [f"{name}: {n}" for n, times in Counter(call.numbers).items() if times > 1]
    if call.how == "ok" or (call.era == "handshake" and call.resumable):
        missing = ledger.emitted[call.client, call.seq] - set(call.numbers)
        sums.events_lost += [f"{name}: progress {n}" for n in sorted(missing)]
    if call.numbers != sorted(call.numbers):
        sums.events_twice.append(f"{name}: out of order")


def _count_announced(received: Iterable[ReceivedEvent], sums: Account, ledger: _Ledger) -> None:
    """What was said must have been received once, in order."""
    came: dict[str, dict[int, float]] = defaultdict(dict)
    for each in received:
        if each.era == "handshake":
            sums.events += 1
            if each.number in came[each.client]:
                sums.events_twice.append(f"{each.client}: said {each.number}")
            came[each.client].setdefault(each.number, each.at)
    for client, said in ledger.at["said"].items():
        for number, at in said.items():
            if number in came[client]:
                sums.silences["standalone stream"].append(came[client][number] - at)
            else:
                sums.events_lost.append(f"{client}: said {number}")


def _count_values(received: Iterable[ReceivedEvent], sums: Account, ledger: _Ledger) -> None:
    """A notice is a reason to look: every value must have been followed by a look that saw it, or a later one."""
    seen: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for each in received:
        if each.era == "modern":
            seen[each.client].append((each.at, each.number))
            sums.events += 1
    for client, bumped in ledger.at["bumped"].items():
        for number, at in bumped.items():
            looks = [when - at for when, value in seen[client] if value >= number]
            if looks:
                sums.silences["listen stream"].append(max(min(looks), 0.0))
            else:
                sums.events_lost.append(f"{client}: value {number}")
