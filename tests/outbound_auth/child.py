"""A worker of its own that renews one person's tokens: `python -m tests.outbound_auth.child REDIS PROVIDER PERSON`."""

from __future__ import annotations

import asyncio
import sys

from switchboard.audit import NoAuditLog
from switchboard.outbound_auth.oauth_providers import OAuthProvider
from switchboard.outbound_auth.outbound import Outbound
from switchboard.state import open_state
from switchboard.timing import Timing
from switchboard.vault import Cipher, RedisStore, Vault


async def renew(redis_url: str, issuer: str, person: str) -> None:
    """Ask for the person's tokens."""
    async with open_state(redis_url, timing=Timing(lease_s=0.6, renew_s=0.2)) as state:
        vault = Vault(RedisStore(state), Cipher(["k" * 32]), NoAuditLog(), state.clock)
        async with Outbound(state, vault, "w9").running() as outbound:
            provider = OAuthProvider("Tracker Inc", issuer, client_id="gateway", client_secret="secret")
            await outbound.accounts("server:tracker", "tracker", provider).token(person)


if __name__ == "__main__":
    asyncio.run(renew(*sys.argv[1:]))
