"""The end of an answer waits until the answer is kept: whoever has read it and asks again gets it again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from switchboard.admin.idempotency import Idempotency
from switchboard.identity import Caller, Principal, serving
from switchboard.state import open_state

CALLER = Caller(Principal("https://issuer", "alice", "client", frozenset({"admin"})))


@pytest.mark.parametrize(("status", "is_kept"), [(200, True), (422, True), (502, False)])
async def test_an_answer_is_kept_before_its_end_is_sent(redis_url: str, status: int, is_kept: bool) -> None:
    sent: list[tuple[bytes, Any]] = []

    async def served(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    async def anybody(_request: object) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    access: Any = anybody
    async with open_state(redis_url) as state:
        once = Idempotency(served, state, access)

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                sent.append((message["body"], await state.redis.get(once._key("k"))))

        headers = [(b"idempotency-key", b"k")]
        scope = {"type": "http", "method": "POST", "path": "/x", "query_string": b"", "headers": headers}
        with serving(CALLER):
            await once(scope, receive, send)

    (first, running), (last, kept) = sent
    assert (first, last) == (b"a", b"b")
    assert "status" not in json.loads(running or "{}")
    assert (kept is not None) == is_kept
    if kept is not None:
        assert (json.loads(kept)["status"], json.loads(kept)["body"]) == (status, "ab")
