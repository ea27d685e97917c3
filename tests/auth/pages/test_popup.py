"""Signing in in a popup: the page that opened it hears how it went, as clients in browsers need it."""

from __future__ import annotations

import http.server
import os
import sys
import threading
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser

from tests.chromium import WITHIN_MS, chromium, started
from tools.fleet.children import LOOPBACK, answers, free_port, start
from tools.fleet.workers import COMMAND

from .test_pages_in_a_browser import link

__all__ = ["chromium", "started"]

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPENING = """<!doctype html><title>client</title><p id="heard">authenticating</p><script>
addEventListener("message", event => { document.getElementById("heard").textContent = event.data })
function signIn(address) { window.popup = open(address, "sign in", "width=600,height=700") }
</script>"""
RETURNED = """<!doctype html><title>back</title><script>
opener.postMessage(new URLSearchParams(location.search).get(location.search.includes("error=") ? "error" : "code"),
                   location.origin)
</script>"""


class Client(http.server.BaseHTTPRequestHandler):
    """A client on pages of another origin than the server's: one opens the popup, one is where it comes back to."""

    def do_GET(self) -> None:
        page = (RETURNED if self.path.startswith("/client-callback") else OPENING).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture(scope="module")
def client() -> Iterator[str]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Client) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module", params=["mounted", "standing alone"])
def issuer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The authorization server, as part of a worker and as a process of its own; its address."""
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PORT": str(port), "AUTH_SERVER_PORT": str(port), "SECRET_KEY": "k" * 43}
    command = [COMMAND, "serve"] if request.param == "mounted" else [sys.executable, "-m", "auth_server"]
    child = start("issuer", command, tmp_path_factory.mktemp("issuer"), env)
    try:
        child.wait_until(lambda: answers(port, "/.well-known/oauth-authorization-server"), 120)
        yield f"http://localhost:{port}"
    finally:
        child.stop()


async def test_a_page_hears_from_its_popup_that_somebody_has_signed_in(
    chromium: Browser, issuer: str, client: str
) -> None:
    page = await (await chromium.new_context()).new_page()
    await page.goto(client)
    async with page.expect_popup() as opened:
        await page.evaluate("address => signIn(address)", link(issuer, f"{client}/client-callback"))
    popup = await opened.value
    await popup.get_by_role("button", name="Allow").click()
    await popup.get_by_label("User ID").fill("alice")
    await popup.keyboard.press("Enter")
    await popup.wait_for_url(f"{client}/client-callback*")

    await page.wait_for_function("document.getElementById('heard').textContent !== 'authenticating'", timeout=WITHIN_MS)
    assert (await page.locator("#heard").inner_text()).startswith("sbc_")
    assert not await page.evaluate("popup.closed")


async def test_a_page_hears_from_its_popup_that_somebody_did_not_allow_it(
    chromium: Browser, issuer: str, client: str
) -> None:
    page = await (await chromium.new_context()).new_page()
    await page.goto(client)
    async with page.expect_popup() as opened:
        await page.evaluate("address => signIn(address)", link(issuer, f"{client}/client-callback"))
    popup = await opened.value
    await popup.get_by_role("button", name="Deny").click()

    await page.wait_for_function("document.getElementById('heard').textContent !== 'authenticating'", timeout=WITHIN_MS)
    assert await page.locator("#heard").inner_text() == "access_denied"
