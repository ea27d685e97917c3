"""Providers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.outbound_auth.provider import Provider, served


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An OAuth provider that knows the client `gateway` with the secret `secret`."""
    async with served(Provider()) as running:
        yield running
