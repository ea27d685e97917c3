"""Functions for what happened, and the table of the metrics that it is counted in.

Telling costs a look-up in a dictionary and two additions; nothing is written or locked. All calls come from the thread
of the event loop. Values only ever grow while the process lives.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

BOUNDS: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper ends of the buckets of latencies, in seconds; a last one has what took longer."""

MOST_SERIES: Final = 1_000
"""Combinations of labels that one metric may have; those beyond are counted together."""

OTHER: Final = "other"

METHODS: Final = frozenset(
    {
        *("initialize", "ping", "server/discover", "completion/complete", "logging/setLevel"),
        *("tools/list", "tools/call", "prompts/list", "prompts/get", "subscriptions/listen"),
        *("resources/list", "resources/read", "resources/templates/list"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("tasks/get", "tasks/list", "tasks/update", "tasks/cancel", "tasks/result"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
        *("notifications/roots/list_changed", "response", "batch"),
    }
)
"""What is told apart of what is posted; every other method is `other`."""

LASTING: Final = frozenset({"http", "websocket", "subscriptions/listen"})
"""What may be a stream that lasts for hours: its duration is no latency."""

Labels = tuple[str, ...]

Snapshot = dict[str, dict[Labels, list[float]]]
"""Metric → labels → its value, as many numbers as its `width`."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table of metrics.

    Args:
        kind: `counter`, `gauge` (of the workers that live, added up) or `histogram`.
        about: what is said of it in the exposition.
    """

    name: str
    kind: str
    about: str
    labels: Labels = ()

    @property
    def width(self) -> int:
        """How many numbers one value is: of a histogram, a count for each bucket, not added up, and the seconds."""
        return len(BOUNDS) + 2 if self.kind == "histogram" else 1


@dataclass(slots=True)
class Values:
    """The values of one metric, by its labels."""

    metric: Metric
    by: dict[Labels, float] = field(default_factory=dict)

    def add(self, *labels: str, amount: float = 1) -> None:
        """Count."""
        key = labels if labels in self.by or len(self.by) < MOST_SERIES else (OTHER,) * len(labels)
        self.by[key] = self.by.get(key, 0) + amount


@dataclass(slots=True)
class Cell:
    """Requests that were alike: how many there were for each bucket of `BOUNDS`, and the seconds they took."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many there were."""
        return sum(self.counts)


_ROWS: Final = (
    Metric("switchboard_requests", "counter", "Requests that ended", ("method", "outcome", "era")),
    Metric("switchboard_request_duration_seconds", "histogram", "How long requests took", ("era", "provider")),
    Metric("switchboard_authorization_refusals", "counter", "Requests without a good token, by status", ("status",)),
    Metric("switchboard_redis_round_trips", "counter", "What was asked of Redis, by the way it went", ("way",)),
    Metric("switchboard_redis_errors", "counter", "Redis could not be asked, or did not answer", ("reason",)),
    Metric("switchboard_configuration_reloads", "counter", "Configurations that were read anew", ("outcome",)),
    Metric("switchboard_backend_connections", "counter", "What became of connections", ("server", "event")),
    Metric("switchboard_rpc_errors", "counter", "Errors in answers to MCP requests, by code", ("method", "error")),
    Metric("switchboard_sessions", "counter", "Sessions of the handshake era", ("event",)),
    Metric("switchboard_vault_operations", "counter", "Accesses to credentials", ("operation", "outcome")),
    Metric("switchboard_issuer_requests", "counter", "Questions to issuers and OAuth providers", ("kind", "outcome")),
    Metric("switchboard_server_restarts", "counter", "Servers that an operator had started anew", ("server",)),
    Metric("switchboard_process_cpu_seconds", "counter", "CPU time of the worker processes"),
    Metric("switchboard_process_resident_memory_bytes", "gauge", "Memory of the worker processes"),
    Metric("switchboard_process_open_descriptors", "gauge", "Files and sockets that the worker processes have open"),
    Metric("switchboard_fast_path_requests", "counter", "Requests by the way that they were served", ("way",)),
    Metric("switchboard_workers", "gauge", "Worker processes that serve", ("state",)),
    Metric("switchboard_streams", "gauge", "Streams that clients hold open"),
    Metric("switchboard_exchanges", "gauge", "Requests of sessions that run now"),
    Metric("switchboard_parked_calls", "gauge", "Calls that wait for their client between two of its requests"),
    Metric("switchboard_tasks", "gauge", "Tasks that run"),
    Metric("switchboard_servers", "gauge", "Workers by how they are doing with a server", ("server", "condition")),
    Metric("switchboard_plugins", "gauge", "Workers by how they are doing with a plugin", ("plugin", "phase")),
    Metric("switchboard_configuration_problems", "gauge", "Workers on which what is written is not in force"),
)

TABLE: Final[Mapping[str, Metric]] = {row.name: row for row in _ROWS}
"""All metrics, by name. Counters get `_total` behind it when they are told."""

REQUESTS, DURATION = _ROWS[0], _ROWS[1]

AUTHORIZATION_REFUSALS: Final = Values(TABLE["switchboard_authorization_refusals"])
REDIS_ROUND_TRIPS: Final = Values(TABLE["switchboard_redis_round_trips"])
REDIS_ERRORS: Final = Values(TABLE["switchboard_redis_errors"])
CONFIGURATION_RELOADS: Final = Values(TABLE["switchboard_configuration_reloads"])
BACKEND_CONNECTIONS: Final = Values(TABLE["switchboard_backend_connections"])
RPC_ERRORS: Final = Values(TABLE["switchboard_rpc_errors"])
SESSIONS: Final = Values(TABLE["switchboard_sessions"])
VAULT_OPERATIONS: Final = Values(TABLE["switchboard_vault_operations"])
ISSUER_REQUESTS: Final = Values(TABLE["switchboard_issuer_requests"])
SERVER_RESTARTS: Final = Values(TABLE["switchboard_server_restarts"])

_COUNTED: Final = (
    AUTHORIZATION_REFUSALS,
    REDIS_ROUND_TRIPS,
    REDIS_ERRORS,
    CONFIGURATION_RELOADS,
    BACKEND_CONNECTIONS,
    RPC_ERRORS,
    SESSIONS,
    VAULT_OPERATIONS,
    ISSUER_REQUESTS,
    SERVER_RESTARTS,
)

_cells: Final[dict[Labels, Cell]] = {}


def request_served(method: str, outcome: str, seconds: float, era: str = "", provider: str = "") -> None:
    """A request ended.

    Args:
        method: of JSON-RPC; `http` or `websocket` for what is no message.
        outcome: `ok`, `refused` (4xx), `failed` (5xx) or `left`, when the client did before there was an answer.
        seconds: from its arrival to the end of its answer.
        era: `modern`, `handshake`, or empty when it never came so far.
        provider: the plugin or backend whose tool was called, by its name in the configuration.
    """
    key = (method, outcome, era, provider)
    cell = _cells.get(key)
    if cell is None:
        cell = _new_cell(*key)
    cell.counts[bisect_left(BOUNDS, seconds)] += 1
    cell.seconds += seconds


def named(method: str) -> str:
    """A method of MCP as a label: as it is if it is known, for a client may write anything."""
    return method if method in METHODS else OTHER


def _new_cell(method: str, outcome: str, era: str, provider: str) -> Cell:
    known = method if method in METHODS or method in LASTING else OTHER
    provider = provider if len(_cells) < MOST_SERIES else OTHER if provider else ""
    key = (known, outcome, era, provider)
    return _cells.setdefault(key, Cell())


def cells() -> Mapping[Labels, Cell]:
    """All requests so far, by (method, outcome, era, provider)."""
    return _cells


def counted() -> Snapshot:
    """All counters and latencies of this process."""
    requests: dict[Labels, list[float]] = {}
    durations: dict[Labels, list[float]] = {}
    for (method, outcome, era, provider), cell in _cells.items():
        requests.setdefault((method, outcome, era), [0])[0] += cell.total
        if method not in LASTING:
            before = durations.get((era, provider))
            row = [*cell.counts, cell.seconds]
            durations[era, provider] = [a + b for a, b in zip(before, row, strict=True)] if before else row
    others = {each.metric.name: {labels: [value] for labels, value in each.by.items()} for each in _COUNTED}
    return {REQUESTS.name: requests, DURATION.name: durations, **others}
