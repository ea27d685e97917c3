"""A vault over each of its stores, and what it wrote to the audit log."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest
from moto import mock_aws
from moto.secretsmanager.models import SecretsManagerBackend

from switchboard.state import State, open_state
from switchboard.vault import Cipher, RedisStore, Store, Vault, VaultSettings, open_vault
from switchboard.vault.azure_identity import AzureIdentity
from switchboard.vault.location import Location, location
from tests.vault.servers.hashicorp import TOKEN, KeyValueEngine
from tests.vault.servers.key_vault import KeyVault
from tools.fleet.redis_cluster import RedisCluster, running_cluster
from tools.serving import serving

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


@pytest.fixture
def hashicorp() -> KeyValueEngine:
    return KeyValueEngine()


@pytest.fixture
def key_vault() -> KeyVault:
    return KeyVault()


@pytest.fixture(scope="session")
def described_once() -> Iterator[None]:
    """The descriptions of AWS's services, of megabytes, are read once in a process, not for each client."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.session.create_loader", functools.cache(botocore.loaders.create_loader))
        yield


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, described_once: None) -> Iterator[None]:
    """Secrets Manager in memory. AWS moves a label at once: two of moto's requests must not meet in the middle."""
    turn, moved = threading.Lock(), SecretsManagerBackend.update_secret_version_stage

    def move(*args: Any, **named: Any) -> Any:
        with turn:
            return moved(*args, **named)

    monkeypatch.setattr(SecretsManagerBackend, "update_secret_version_stage", move)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


IDENTITY = AzureIdentity("contoso", "us", "the-secret")

Opened = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture
def opened(request: pytest.FixtureRequest, clock: Clock, tmp_path: Path) -> Opened:
    """`async with opened(kind) as store`: one of the stores, empty, as the settings would open it."""

    @asynccontextmanager
    async def opening(kind: str, **settings: Any) -> AsyncIterator[Store]:
        url: str | None = None
        where = Location("redis")
        async with AsyncExitStack() as stack:
            if kind in ("redis", "azure"):
                url = request.getfixturevalue("redis_url")
            elif kind == "cluster":
                cluster: RedisCluster = request.getfixturevalue("redis_cluster")
                cluster.flush()
                url = cluster.url
            if kind == "file":
                where = location(f"file:{tmp_path}/vault")
            elif kind == "aws":
                request.getfixturevalue("aws")
                where = location("aws:some/prefix?region=eu-central-1")
            elif kind == "azure":
                azure: KeyVault = request.getfixturevalue("key_vault")
                azure.url = (await stack.enter_async_context(serving(azure.app))).url
                where = location(f"azure:{azure.url}")
                settings.setdefault("azure", replace(IDENTITY, authority=azure.url))
            elif kind == "hashicorp":
                engine: KeyValueEngine = request.getfixturevalue("hashicorp")
                served = (await stack.enter_async_context(serving(engine.app))).url
                where = location(f"hashicorp:{served}/secret/some/folder")
                settings.setdefault("token", TOKEN)
            state = await stack.enter_async_context(open_state(url))
            told = VaultSettings(where, (KEY,), **settings)
            vault = await stack.enter_async_context(open_vault(told, state, Audit(), clock))
            yield vault.store

    return opening


@pytest.fixture(params=["memory://", "redis", "cluster", "file", "aws", "azure", "hashicorp"])
async def store(request: pytest.FixtureRequest, opened: Opened) -> AsyncIterator[Store]:
    """Each of the stores, empty."""
    async with opened(request.param) as found:
        yield found


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
