"""What a modern client says of itself is read once for as long as it says the same."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.server.connection import Connection
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY
from starlette.requests import Request

from switchboard.http import modern_context
from switchboard.http.modern_context import ModernContext

VERSION = "2026-07-28"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modern_context, "_clients", {})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the SDK has read."""
    seen: list[object] = []
    sdk = Connection.from_envelope

    def noting(version: str, client: object, declared: object) -> Connection:
        seen.append(client)
        return sdk(version, client, declared)

    monkeypatch.setattr(Connection, "from_envelope", noting)
    return seen


async def say(_event: bytes) -> None:
    raise AssertionError("nothing is said")


def connection(client: Any, declared: Any) -> Connection:
    meta = {PROTOCOL_VERSION_META_KEY: VERSION, CLIENT_CAPABILITIES_META_KEY: declared, CLIENT_INFO_META_KEY: client}
    message = {"id": 1, "params": {"_meta": meta}}
    return ModernContext(Request({"type": "http", "headers": []}), message, say).connection()


CLIENTS: tuple[Any, ...] = (
    {"name": "a", "version": "1"},
    {"name": "a", "version": "2", "title": "é"},
    {"name": "a"},  # not a client: what is of no shape counts as not said
    None,
    [],
)
DECLARED: tuple[Any, ...] = (
    {},
    {"elicitation": {"url": {}}},
    {"roots": {"listChanged": True}, "x": {"y": 1}},
    {"roots": 3},
    None,
)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("declared", DECLARED)
async def test_a_client_is_as_the_sdk_reads_it_each_time(client: Any, declared: Any) -> None:
    right = Connection.from_envelope(VERSION, client, declared)

    for _ in range(2):
        made = connection(client, declared)

        assert made.client_params == right.client_params
        assert made.client_capabilities == right.client_capabilities
        assert made.protocol_version == VERSION
        assert made.initialized.is_set()
        assert not made.has_standalone_channel


async def test_the_same_words_are_read_once(read: list[object]) -> None:
    first, second = connection({"name": "a", "version": "1"}, {}), connection({"name": "a", "version": "1"}, {})
    connection({"name": "b", "version": "1"}, {})
    connection({"name": "a", "version": "1"}, {"elicitation": {}})

    assert len(read) == 3
    assert first.state is not second.state


async def test_long_ones_are_not_kept_and_no_more_than_so_many(
    read: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modern_context, "CLIENTS", 3)
    for _ in range(2):
        connection({"name": "a" * modern_context.LONGEST_CLIENT, "version": "1"}, {})
    assert len(read) == 2
    assert not modern_context._clients

    for number in range(7):
        connection({"name": str(number), "version": "1"}, {})

    assert len(modern_context._clients) <= 3
