"""Notices that a client's roots changed: from the worker that gets one to the connections of that client alone."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import structlog

from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.connections.roots import ROOTS_CHANGED
from switchboard.errors import StateUnavailable
from switchboard.identity import Caller
from switchboard.state import State
from switchboard.state.pubsub import parsed

RESUBSCRIBE_S: Final = 1.0
NOTIFY_S: Final = 1.0
"""How long one backend may take to be told."""

log = structlog.get_logger("switchboard.backends")


async def tell_roots_changed(state: State, caller: Caller) -> None:
    """Tell every worker whose roots changed."""
    try:
        payload = json.dumps({"session": caller.session_id, "user": caller.principal.person})
        await state.pubsub.publish(state.keys.roots_changed(), payload)
    except StateUnavailable as error:
        log.warning(error.event, error=str(error), lost="that a client's roots changed")


async def pass_on_roots_changes(state: State, pool: ConnectionPool) -> None:
    """Tell the backends of the client, over the connections that nobody else uses; until cancelled."""
    payloads: asyncio.Queue[str] = asyncio.Queue()
    while True:
        try:
            async with state.pubsub.subscribed(state.keys.roots_changed(), payloads.put_nowait):
                while True:
                    told = parsed(await payloads.get()) or {}  # what may have been missed is not known
                    sid, user = told.get("session"), told.get("user")
                    if isinstance(sid, str) and isinstance(user, str):
                        await _tell(pool, sid, user)
        except StateUnavailable as error:
            log.info(error.event, error=str(error))
            await asyncio.sleep(RESUBSCRIBE_S)


async def _tell(pool: ConnectionPool, sid: str, user: str) -> None:
    for connection in pool.open:
        if connection.key is not None and connection.key.concerns(sid, user):
            try:
                async with asyncio.timeout(NOTIFY_S):
                    await connection.notify(ROOTS_CHANGED)
            except TimeoutError:
                log.info("backend.notification_failed", backend=connection.backend.name, method=ROOTS_CHANGED)
