"""What the tests of streams say: a tool that takes its time, a cancellation, an answer."""

from __future__ import annotations

from typing import Any

from tests.sessions.conftest import Worker

LONG = "longRunningOperation"


def cancelled(id: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}


def answer(question: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": question["id"], "result": result}


def running_on(worker: Worker) -> list[str]:
    """The ids of the sessions that have a request running on the worker."""
    return [sid for sid, _ in worker.app.rooms.handshake._running.values()]
