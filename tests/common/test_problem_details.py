from __future__ import annotations

from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.common.problem_details import AsProblems, Problem
from switchboard.http.responses import refuse


def test_members_that_say_nothing_are_left_out() -> None:
    said = Problem(409, "wrong", mistakes=[], current=None, errors=[{"field": "a"}]).document()
    assert said == {"title": "Conflict", "status": 409, "detail": "wrong", "errors": [{"field": "a"}]}


def answering(status: int, parts: list[bytes], content_type: bytes) -> ASGIApp:
    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", content_type), (b"retry-after", b"3")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, part in enumerate(parts, 1):
            await send({"type": "http.response.body", "body": part, "more_body": number < len(parts)})

    return app


async def refusing(scope: Scope, _receive: Receive, send: Send) -> None:
    await refuse(scope, send, 401, "Sign in", headers=((b"www-authenticate", b"Bearer"),))


async def asked(app: ASGIApp) -> httpx2.Response:
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(AsProblems(app)), base_url="http://localhost") as http:
        return await http.get("/")


async def test_a_refusal_of_a_guard_is_a_problem_with_its_own_headers() -> None:
    answer = await asked(refusing)
    assert answer.json() == {"title": "Unauthorized", "status": 401, "detail": "Sign in"}
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize(
    ("parts", "detail"),
    [([b"Not ", b"now"], "Not now"), ([b"[1]"], "[1]"), ([b'{"error": "no"}'], '{"error": "no"}')],
)
async def test_an_error_in_any_other_form_is_told_as_it_is(parts: list[bytes], detail: str) -> None:
    answer = await asked(answering(503, parts, b"text/plain"))
    assert (answer.json()["detail"], answer.headers["retry-after"]) == (detail, "3")


@pytest.mark.parametrize(("status", "kind"), [(200, b"text/plain"), (404, b"application/problem+json")])
async def test_what_is_no_error_or_a_problem_already_passes_unchanged(status: int, kind: bytes) -> None:
    answer: Any = await asked(answering(status, [b"a", b"b"], kind))
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (status, b"ab", kind.decode())
