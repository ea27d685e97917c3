"""What redis-py raises when the server cannot serve now, and what the rooms hear instead."""

from __future__ import annotations

from redis import exceptions

from switchboard.errors import StateBusy, StateUnavailable

AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.BusyLoadingError,
    exceptions.ClusterDownError,
    exceptions.ReadOnlyError,
    exceptions.OutOfMemoryError,
    exceptions.RedisClusterException,
)
"""Errors of the server's state, as opposed to those of a wrong command."""


def unavailable(error: Exception, message: str = "") -> StateUnavailable:
    """What to raise for `error`: Redis is away (`message`), or it is there and we ran out of connections to it."""
    if isinstance(error, exceptions.MaxConnectionsError):
        return StateBusy(str(error))
    return StateUnavailable(message or str(error))
