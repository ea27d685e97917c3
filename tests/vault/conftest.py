"""A vault over each of its stores, and what it wrote to the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from switchboard.state import State, open_state
from switchboard.vault import Cipher, RedisStore, Store, Vault
from tools.fleet.redis_cluster import RedisCluster, running_cluster

KEY = "k" * 32


@dataclass
class Clock:
    """The fleet's time, which tests move."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Audit:
    """Keeps what is recorded. Satisfies `AuditLog`."""

    entries: list[dict[str, str]] = field(default_factory=list)

    def record(self, event: str, *, who: str, what: str, outcome: str, **fields: str) -> None:
        self.entries.append({"event": event, "who": who, "what": what, "outcome": outcome, **fields})

    async def flush(self) -> None:
        """Everything is taken at once."""

    def outcomes(self, event: str) -> list[str]:
        return [entry["outcome"] for entry in self.entries if entry["event"] == event]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audit() -> Audit:
    return Audit()


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
async def state(redis_url: str) -> AsyncIterator[State]:
    async with open_state(redis_url) as opened:
        yield opened


@pytest.fixture(params=["memory://", "redis", "cluster"])
async def store(request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Store]:
    """Each of the stores, empty."""
    url: str | None = None
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
    elif request.param == "cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        cluster.flush()
        url = cluster.url
    async with open_state(url) as opened:
        yield RedisStore(opened, clock)


class MakeVault:
    """Makes vaults over one store with other keys."""

    def __init__(self, store: Store, audit: Audit, clock: Clock) -> None:
        self.store, self.audit, self.clock = store, audit, clock

    def __call__(self, keys: Sequence[str] = (KEY,)) -> Vault:
        return Vault(self.store, Cipher(keys), self.audit, self.clock)


@pytest.fixture
def vault(store: Store, audit: Audit, clock: Clock) -> Vault:
    return MakeVault(store, audit, clock)()


@pytest.fixture
def redis_vault(state: State, audit: Audit, clock: Clock) -> MakeVault:
    """Vaults over Redis, for what does not depend on the store."""
    return MakeVault(RedisStore(state, clock), audit, clock)
