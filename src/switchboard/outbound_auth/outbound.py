"""What one worker has for authorization at other servers: made once by the composition root, and used by every room.

Owns the HTTP client for addresses that the operator named, and with it the clients of OAuth providers.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2

from switchboard.common.fetch.fetcher import Resolve, system_resolver
from switchboard.common.fetch.guarded_transport import GuardedTransport
from switchboard.common.fetch.public_addresses import is_public
from switchboard.fleet import FleetLocks
from switchboard.outbound_auth.accounts import OAuthAccounts
from switchboard.outbound_auth.client import WAIT_S, OAuthClient
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.outbound_auth.registration import Registrations
from switchboard.outbound_auth.renewals import Renewals
from switchboard.state import State
from switchboard.vault import Vault


class Outbound:
    """Makes clients and accounts. Use `running`.

    Args:
        worker: this worker's id.
        resolve, public, context: as for `GuardedTransport`: how addresses that others name are judged.
    """

    def __init__(
        self,
        state: State,
        vault: Vault,
        worker: str,
        *,
        resolve: Resolve | None = None,
        public: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._vault = vault
        self._clock = state.clock
        self._locks = FleetLocks(state, worker)
        self._renewals = Renewals(vault, self._locks)
        self._http: httpx2.AsyncClient | None = None
        self._judged: dict[str, Any] = {
            "resolve": resolve or system_resolver(),
            "public": public,
            "context": context,
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Outbound]:
        """Ask providers for as long as the context is open; renewals that are under way at its end are finished."""
        async with httpx2.AsyncClient(timeout=WAIT_S, follow_redirects=False) as self._http, self._renewals.running():
            yield self

    def client(self, provider: OAuthProvider, namespace: str = "") -> OAuthClient:
        """This gateway as a client of that provider.

        Args:
            namespace: where registrations are kept; without one the provider must have a `client_id`.
        """
        if self._http is None:
            raise RuntimeError("outbound authorization is not running")
        transport = GuardedTransport(self._http, provider.origins, private=provider.private_addresses, **self._judged)
        registrations = Registrations(self._vault, self._locks, namespace, self._clock) if namespace else None
        return OAuthClient(provider, transport, registrations, self._clock)

    def accounts(self, namespace: str, name: str, provider: OAuthProvider, server: str = "") -> OAuthAccounts:
        """People's accounts for one backend or plugin, at that provider; `server` as of `OAuthAccounts`."""
        client = self.client(provider, namespace)
        return OAuthAccounts(namespace, name, client, self._vault, self._renewals, self._clock, server)
