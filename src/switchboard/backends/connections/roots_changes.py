"""That a client's roots changed: from whichever worker hears of it to the connections that are that client's alone."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import structlog

from switchboard.backends.connections.connection_key import user_of
from switchboard.backends.connections.pool import ConnectionPool
from switchboard.backends.connections.roots import CHANGED
from switchboard.errors import StateUnavailable
from switchboard.identity import Caller
from switchboard.state import State
from switchboard.state.pubsub import parsed

AGAIN_S: Final = 1.0

log = structlog.get_logger("switchboard.backends")


async def tell_roots_changed(state: State, caller: Caller) -> None:
    """Tell every worker whose roots changed."""
    try:
        payload = json.dumps({"session": caller.session_id, "user": user_of(caller)})
        await state.hub.publish(state.keys.roots_changed(), payload)
    except StateUnavailable as error:
        log.warning(error.event, error=str(error), lost="that a client's roots changed")


async def pass_on_roots_changes(state: State, lines: ConnectionPool) -> None:
    """Tell the backends of the client, over the connections that nobody else uses; until cancelled."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    while True:
        try:
            async with state.hub.subscribed(state.keys.roots_changed(), heard.put_nowait):
                while True:
                    told = parsed(await heard.get()) or {}  # of what may have been missed nobody knows whose it was
                    sid, user = told.get("session"), told.get("user")
                    if isinstance(sid, str) and isinstance(user, str):
                        await _tell(lines, sid, user)
        except StateUnavailable as error:
            log.info(error.event, error=str(error))
            await asyncio.sleep(AGAIN_S)


async def _tell(lines: ConnectionPool, sid: str, user: str) -> None:
    for line in lines.open:
        if line.key is not None and line.key.concerns(sid, user):
            try:
                async with asyncio.timeout(AGAIN_S):
                    await line.tell(CHANGED)
            except TimeoutError:
                log.info("backend.not_told", backend=line.backend.name, method=CHANGED)
