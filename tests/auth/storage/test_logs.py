"""AUTH row 27: no log holds a token, code, secret, verifier or cookie. `tests/conftest.py` looks after every test."""

from __future__ import annotations

import base64
import logging
from typing import Any

import httpx2
import pytest
import structlog

from tests.auth.conftest import World
from tools.fleet.wiretap import Wiretap

log = structlog.get_logger("auth_server.test")
SECRET = "s3cret-0123456789-abcdefghij"
SEEN = b"a=cookie-0123456789abcdef\xe9"


async def seen(world: World, hearing: Any) -> tuple[Wiretap, dict[str, Any]]:
    """A tap of one's own, and what it saw of a whole story with a confidential client."""
    tap = Wiretap()
    client = await world.register(token_endpoint_auth_method="client_secret_basic")
    secret = (client["client_id"], client["client_secret"])
    pkce = world.pkce()
    async with world.browser() as http:
        page = await http.get("/authorize", params=world.question(client, pkce))
        back = await world.authorize(http, client, pkce)
        cookies = dict(http.cookies.items())
    sent = {"grant_type": "authorization_code", "code": back["code"], "code_verifier": pkce.verifier}
    answer = await world.token(sent, auth=secret)
    for response in (page, answer):
        tap.passed(response)
    story = {"secret": client["client_secret"], "code": back["code"], "verifier": pkce.verifier, **answer.json()}
    return tap, story | {"hidden": world.hidden(page.text)["csrf"], "cookie": next(iter(cookies.values()))}


@pytest.mark.parametrize("redis", ["memory"], indirect=True)
@pytest.mark.parametrize("what", ["secret", "code", "verifier", "access_token", "refresh_token", "hidden", "cookie"])
async def test_a_secret_that_went_over_the_wire_is_found_in_a_log(world: World, hearing: Any, what: str) -> None:
    tap, story = await seen(world, hearing)
    assert tap.found_in("nothing of interest, client c_0123456789abcdefghijkl") == set()

    assert tap.found_in(f'{{"event": "request", "path": "/x?y={story[what]}&z=1"}}') != set()


@pytest.mark.parametrize("run", ["AbCdEfGhIjKlMnOpQrStUv", "aaaaaaaaaaaaaaaaaaaa_A", "0123456789abcdef"])
def test_a_secret_is_one_with_or_without_a_digit(run: str) -> None:
    tap = Wiretap()
    tap.note([run])
    assert tap.found_in(f"token={run}") == {run}


@pytest.mark.parametrize("run", ["not-a-token-of-ours", "THIS_IS_NO_SECRET_EITHER"])
def test_words_that_a_test_sent_as_a_token_may_stand_in_a_log(run: str) -> None:
    tap = Wiretap()
    tap.note([run])
    assert tap.found_in(run) == set()


@pytest.mark.parametrize("header", [b"Basic \xe9", b"Bearer \xe9", b"Basic !", b"Basic " + base64.b64encode(b"a:\xe9")])
def test_a_header_that_is_not_ascii_or_not_base64_is_looked_through_like_any_other(header: bytes) -> None:
    tap = Wiretap()
    request = httpx2.Request("POST", "http://localhost/token", headers=[(b"Authorization", header), (b"Cookie", SEEN)])
    tap.passed(httpx2.Response(200, request=request))
    assert tap.found_in("cookie-0123456789abcdef") != set()


async def test_a_familys_name_alone_is_found_too(world: World, hearing: Any) -> None:
    tap, story = await seen(world, hearing)
    assert tap.found_in(f"family={story['access_token'][4:26]}") != set()


def test_both_kinds_of_loggers_are_heard_down_to_debug(hearing: Any, wiretap: Wiretap) -> None:
    """Without this the rest would look good for nothing."""
    log.debug("an event", value=SECRET)
    logging.getLogger("auth_server").debug("a line with %s", "old-" + SECRET)
    logging.getLogger("httpx2").info("the tests' own client may say what it likes: %s", SECRET[::-1])

    said = "\n".join(hearing.said)
    assert SECRET in said
    assert "old-" + SECRET in said
    assert SECRET[::-1] not in said


async def test_what_the_tests_clients_send_is_noted_without_being_asked(world: World, wiretap: Wiretap) -> None:
    before = len(wiretap.secrets)
    async with world.browser() as http:
        await http.post("/token", data={"code_verifier": SECRET}, headers={"Cookie": "a=cookie-0123456789abcdef"})
        with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200))) as other:
            other.get("http://localhost", headers={"Authorization": "Bearer bearer-0123456789abcdef"})

    assert {SECRET, "cookie-0123456789abcdef", "bearer-0123456789abcdef"} <= wiretap.secrets
    assert len(wiretap.secrets) > before
    wiretap.secrets -= {SECRET}
