"""Providers on loopback, and workers that are authorized there: several over one Redis are a fleet."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from switchboard.audit import NoAuditLog
from switchboard.outbound_auth.accounts import OAuthAccounts
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.outbound_auth.outbound import Outbound
from switchboard.state import State, open_state
from switchboard.timing import Timing
from switchboard.vault import Cipher, RedisStore, Vault
from tests.outbound_auth.provider import Provider, served

ALICE, BOB = '["https://as.example", "alice"]', '["https://as.example", "bob"]'
CALLBACK = "https://gateway.example/oauth/callback/tracker"


@dataclass
class Worker:
    """One worker's part of outbound authorization."""

    state: State
    vault: Vault
    outbound: Outbound

    def accounts(self, provider: OAuthProvider, namespace: str = "server:tracker") -> OAuthAccounts:
        """The accounts of a backend called `tracker`."""
        return self.outbound.accounts(namespace, "tracker", provider)


StartWorker = Callable[..., Awaitable[Worker]]


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An OAuth provider that knows the client `gateway` with the secret `secret`."""
    async with served(Provider()) as running:
        yield running


@pytest.fixture
async def start_worker(redis_url: str) -> AsyncIterator[StartWorker]:
    """`await start_worker(lease_s=…, **options)`: one more worker of the fleet."""
    async with AsyncExitStack() as stack:

        async def start(*, lease_s: float = 12.0, **options: Any) -> Worker:
            timing = Timing(lease_s=lease_s, renew_s=lease_s / 3)
            state = await stack.enter_async_context(open_state(redis_url, timing=timing))
            vault = Vault(RedisStore(state), Cipher(["k" * 32]), NoAuditLog(), state.clock)
            outbound = Outbound(state, vault, "w1", **options)
            return Worker(state, vault, await stack.enter_async_context(outbound.running()))

        yield start


@pytest.fixture
async def worker(start_worker: StartWorker) -> Worker:
    """One worker."""
    return await start_worker()


def described(provider: Provider, **said: Any) -> OAuthProvider:
    """How an operator describes the provider: by its issuer, with the client that it knows."""
    given = {"issuer": provider.url, "client_id": "gateway", "client_secret": "secret", "scopes": ("read", "write")}
    return OAuthProvider("Tracker Inc", **given | said)


async def visit(url: str) -> dict[str, str]:
    """What a browser that was sent to `url` brings back to the callback."""
    async with httpx2.AsyncClient() as browser:
        back = await browser.get(url)
    assert back.status_code == 303, back.text
    return dict(parse_qsl(urlsplit(back.headers["location"]).query))


async def connect(accounts: OAuthAccounts, person: str = ALICE) -> None:
    """The person connects, as in a browser."""
    url, kept = await accounts.begin(person, redirect_uri=CALLBACK)
    await accounts.finish(person, await visit(url), kept)
