"""What tests of the identity room share."""

from __future__ import annotations

import socket

import pytest


@pytest.fixture(autouse=True)
def searched(hearing: object) -> None:
    """After each test its log is searched for every secret that went over the wire."""


@pytest.fixture
def unused_port() -> int:
    """A loopback port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
