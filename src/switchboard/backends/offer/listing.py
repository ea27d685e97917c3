"""Asking a backend for its lists, each by itself: one that fails, or keeps silent, hides nothing but itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND

from switchboard.backends.config import Backend
from switchboard.backends.connections.connection import Connection
from switchboard.backends.errors import BackendFailure, Ended, Forgotten
from switchboard.backends.offer import sanitize
from switchboard.backends.offer.offer import LISTS, BackendOffer, Kind, offered
from switchboard.backends.offer.sanitize import Form, Unoffered
from switchboard.common import visible_text

NEXT_LIST_S: Final = 1.0
"""After so long the next list is asked for, and what is known by then is offered."""

LIST_S: Final = 30.0
"""How long a list may take, with all its pages."""

Publish = Callable[[BackendOffer], Awaitable[None]]


@dataclass(slots=True)
class _List:
    """One list, as far as it is known."""

    kind: Kind
    method: str
    form: Form
    items: list[Any] = field(default_factory=list)
    definitions: Sequence[Any] = ()
    unoffered: list[Unoffered] = field(default_factory=list)
    fault: str = ""
    """Why it is not complete."""

    done: bool = False


async def discover(backend: Backend, connection: Connection, before: BackendOffer, publish: Publish) -> tuple[str, ...]:
    """Ask for everything. What a list said before is offered until it says something else.

    Args:
        before: what was known until now.
        publish: is given what is known: while a list keeps silent without it, and at the end.

    Returns:
        Why lists are not complete.

    Raises:
        BackendFailure: none of them could be had, or the connection ended before there was one.
    """
    able = connection.server_capabilities
    lists = [_List(kind, method, form) for kind, can, method, _, form in LISTS if getattr(able, can) is not None]
    tasks: list[asyncio.Task[None]] = []

    def known() -> BackendOffer:
        return _known(backend, connection, before, lists)

    try:
        for one in lists:
            tasks.append(asyncio.ensure_future(_fill(backend, connection, one)))
            await asyncio.wait(tasks[-1:], timeout=NEXT_LIST_S)
        while late := {task for task in tasks if not task.done()}:
            if any(one.done and not one.fault for one in lists):
                await publish(known())
            await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    faults = tuple(f"{one.method}: {one.fault}" for one in lists if one.fault)
    if faults and all(one.fault and not one.items for one in lists):
        raise BackendFailure(faults[0])
    await publish(known())
    return faults


def _known(backend: Backend, connection: Connection, before: BackendOffer, lists: Sequence[_List]) -> BackendOffer:
    found: dict[str, Any] = {kind: () for kind, *_ in LISTS}
    unoffered: list[Unoffered] = []
    for one in lists:
        gone_on = one.done and (one.items or not one.fault)
        found[one.kind] = one.definitions if gone_on else getattr(before, one.kind)
        unoffered += one.unoffered
        if one.fault:
            unoffered.append(Unoffered(one.kind, one.method, one.fault))
    given = connection.session.instructions
    return offered(
        backend,
        found,
        instructions=visible_text.text(given) if given else None,
        modern=connection.rpc.modern,
        capabilities=connection.server_capabilities,
        unoffered=tuple(unoffered),
    )


async def _fill(backend: Backend, connection: Connection, one: _List) -> None:
    try:
        async with asyncio.timeout(LIST_S):
            one.fault = await _pages(backend, connection, one)
    except TimeoutError:
        one.fault = f"no answer to {one.method} within {LIST_S:g} s"
    except (Ended, Forgotten):
        raise
    except MCPError as error:
        if error.code != METHOD_NOT_FOUND:
            one.fault = visible_text.text(error.message) or f"error {error.code}"
    # Checking thousands of schemas takes seconds; other requests are served meanwhile.
    cleaned = await asyncio.to_thread(sanitize.clean, one.form, one.items, backend.bounds)
    one.definitions, one.unoffered = cleaned
    one.done = True


async def _pages(backend: Backend, connection: Connection, one: _List) -> str:
    """Collect the pages of a list; returns why it is not complete, if it is not."""
    cursors: set[str] = set()
    params: dict[str, str] | None = None
    for _ in range(backend.bounds.pages):
        page = await connection.ask(one.method, params)
        listed = _listed(page.get(one.form.member, ...))
        if listed is None:
            return f"its answer to {one.method} has no {one.form.member}"
        one.items += listed
        cursor = page.get("nextCursor")
        if cursor in (None, "") or len(one.items) > backend.bounds.items:
            return ""
        if not isinstance(cursor, str):
            return "its nextCursor is no text"
        if cursor in cursors:
            return "its pages go round in a circle"
        cursors.add(cursor)
        params = {"cursor": cursor}
    return f"it has more than {backend.bounds.pages} pages"


def _listed(given: Any) -> list[Any] | None:
    """The items of a page. Nothing is written as null in Go, and a list with gaps as an object in PHP."""
    if given is None:
        return []
    if isinstance(given, dict) and all(key.isdecimal() for key in given):
        return list(given.values())
    return given if isinstance(given, list) else None
