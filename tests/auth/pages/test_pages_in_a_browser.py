"""The pages in a real Chromium: with a keyboard, without scripts, on a phone, and with nothing the policy blocks."""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import sys
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2
import pytest
from playwright.async_api import Browser, Page

from tests.chromium import AUDIT, GOOD, chromium, started, watched
from tools.fleet.children import answers, free_port, start

__all__ = ["chromium", "started"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The standalone server; its address."""
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"AUTH_SERVER_PORT": str(port), "SECRET_KEY": "k" * 32}
    child = start("auth-server", [sys.executable, "-m", "auth_server"], tmp_path_factory.mktemp("auth"), env)
    try:
        child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
        yield f"http://localhost:{port}"
    finally:
        child.stop()


def link(served: str, redirect: str) -> str:
    """What a client would open."""
    asked = {"redirect_uris": [redirect], "client_name": "Probe", "token_endpoint_auth_method": "none"}
    client = httpx2.post(f"{served}/register", json=asked, trust_env=False).json()
    challenge = base64.urlsafe_b64encode(hashlib.sha256(secrets.token_bytes(32)).digest()).rstrip(b"=").decode()
    question = {
        "response_type": "code",
        "client_id": client["client_id"],
        "redirect_uri": redirect,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": "s",
    }
    return f"{served}/authorize?{urlencode(question)}"


async def answered(page: Page) -> dict[str, str]:
    """The redirect back to the client, which nobody listens to."""
    async with page.expect_request(lambda request: "/client-callback" in request.url) as caught:
        await page.keyboard.press("Enter")
    return dict(httpx2.URL((await caught.value).url).params)


@pytest.mark.parametrize("scripts", [True, False])
async def test_a_person_gets_through_with_the_keyboard_alone(chromium: Browser, served: str, scripts: bool) -> None:
    redirect = f"http://127.0.0.1:{free_port()}/client-callback"
    page, complaints = await watched(chromium, java_script_enabled=scripts)
    await page.goto(link(served, redirect))
    await page.get_by_role("button", name="Allow").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("User ID").fill("alice")

    told = await answered(page)

    assert told["code"].startswith("sbc_")
    assert (told["state"], told["iss"]) == ("s", served)
    assert [text for text in complaints if "ERR_CONNECTION_REFUSED" not in text] == []


async def test_the_picker_remembers_people_and_makes_up_new_ones(chromium: Browser, served: str) -> None:
    page, complaints = await watched(chromium)
    address = link(served, f"http://127.0.0.1:{free_port()}/client-callback")
    for user in ("alice", "bob"):
        window = await page.context.new_page()
        await window.goto(address)
        await window.get_by_role("button", name="Allow").click()
        await window.get_by_label("User ID").fill(user)
        await answered(window)
    await page.goto(address)
    await page.get_by_role("button", name="Allow").click()

    field = page.get_by_label("User ID")
    assert await field.input_value() == "bob"
    await page.get_by_role("button", name="alice", exact=True).click()
    assert await field.input_value() == "alice"
    await page.get_by_role("button", name="New").click()
    assert (await field.input_value()).startswith("user-")
    await page.get_by_role("button", name="Forget bob").click()
    assert await page.get_by_role("button", name="bob", exact=True).count() == 0
    assert complaints == []


async def test_what_was_planted_in_local_storage_is_not_run_or_shown(chromium: Browser, served: str) -> None:
    page, complaints = await watched(chromium)
    await page.goto(f"{served}/fakeupstreamauth/authorize?state={'s' * 43}")
    planted = """["<img src=x onerror=document.title='run'>", "alice", 7, null]"""
    await page.evaluate("value => localStorage.setItem('fakeupstreamauth.userIds', value)", planted)
    await page.evaluate("localStorage.setItem('fakeupstreamauth.userId', '<b>')")
    await page.reload()

    people = page.locator(".person")
    assert await people.all_inner_texts() == ["alice"]
    assert await page.title() == "Who are you today?"
    assert await page.get_by_label("User ID").input_value() != "<b>"
    assert complaints == []


@pytest.mark.parametrize("width", [320, 1000])
async def test_every_page_is_named_structured_and_fits(chromium: Browser, served: str, width: int) -> None:
    """WCAG 1.4.10, 2.4.2, 2.5.8, 3.1.1, 4.1.2."""
    page, _ = await watched(chromium, viewport={"width": width, "height": 700})
    found = {}
    await page.goto(link(served, "http://127.0.0.1:9/client-callback"))
    found["consent"] = await page.evaluate(AUDIT)
    await page.get_by_role("button", name="Allow").click()
    await page.wait_for_url("**/fakeupstreamauth/**")
    found["picker"] = await page.evaluate(AUDIT)
    await page.goto(f"{served}/authorize?client_id=nobody")
    found["error"] = await page.evaluate(AUDIT)
    await page.goto(f"{served}/grants")
    await page.get_by_role("button", name="Continue").click()
    await page.wait_for_url("**/grants")
    found["grants"] = await page.evaluate(AUDIT)

    assert found == dict.fromkeys(found, GOOD)
