"""The page at `/`, and what a browser is told that opens the endpoint: on a real worker, in a real Chromium."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.async_api import Browser

from switchboard.http.landing import name_of, ways
from switchboard.protocol.client_setups import CLIENTS
from tests.chromium import chromium, started, watched
from tools.fleet.children import answers, free_port, start
from tools.fleet.workers import COMMAND

__all__ = ["chromium", "started"]

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A worker that nobody signs in to."""
    port = free_port()
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PORT": str(port), "AUTH_MODE": "none"}
    child = start("worker", [COMMAND, "serve"], tmp_path_factory.mktemp("landing"), env)
    child.wait_until(lambda: answers(port, "/readyz"), 120)
    yield f"http://localhost:{port}"
    child.stop()


@pytest.fixture(scope="module")
def page(base: str) -> str:
    answer = httpx2.get(f"{base}/", trust_env=False)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    return html.unescape(answer.text)


def test_the_page_tells_every_client_of_this_very_url(base: str, page: str) -> None:
    assert all(setup.title in page for setup in CLIENTS.values())
    for way in ways(f"{base}/mcp"):
        assert all(text in page for text in way.steps.values())


def test_the_page_asks_nothing_of_other_hosts(base: str, page: str) -> None:
    assert not re.findall(r"""(?:src|href|action)=["']https?://(?!localhost)""", page)
    assert "default-src 'none'" in httpx2.get(f"{base}/", trust_env=False).headers["content-security-policy"]


def test_a_selection_in_the_address_is_in_every_snippet(base: str) -> None:
    text = httpx2.get(f"{base}/?preset=%3Ci%3Edev&unrelated=1", trust_env=False).text
    assert f"{base}/mcp?preset=%3Ci%3Edev" in html.unescape(text)
    assert "<i>" not in text
    assert "unrelated" not in text


def test_a_browser_that_opens_the_endpoint_is_told_what_it_is(base: str) -> None:
    answer = httpx2.get(f"{base}/mcp?preset=dev", headers=BROWSER, trust_env=False)
    assert answer.status_code == 200
    assert f'href="{base}/?preset=dev"' in answer.text


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"Accept": "*/*"}),
        ("GET", {"Accept": "text/html, text/event-stream"}),
        ("GET", {**BROWSER, "Authorization": "Bearer x"}),
        ("POST", BROWSER),
    ],
)
def test_what_no_browser_sends_is_answered_as_ever(method: str, headers: dict[str, str], base: str) -> None:
    answer = httpx2.request(method, f"{base}/mcp", headers=headers, trust_env=False)
    assert "text/html" not in answer.headers.get("content-type", "")
    assert answer.status_code >= 400


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://mcp.example.com/mcp", "example"),
        ("https://tools.example.com/mcp", "tools"),
        ("http://localhost:3232/mcp", "switchboard"),
        ("http://127.0.0.1:3232/mcp", "switchboard"),
        ("http://[::1]:3232/mcp", "switchboard"),
    ],
)
def test_a_server_is_called_by_what_its_host_says(url: str, name: str) -> None:
    assert name_of(url) == name


def test_the_snippet_for_python_works(base: str) -> None:
    done = subprocess.run([sys.executable, "-c", _step(base, "Python")], capture_output=True, text=True, timeout=60)
    assert "echo" in done.stdout, done.stderr


def test_the_snippet_for_curl_works(base: str) -> None:
    done = subprocess.run(["bash", "-c", _step(base, "curl")], capture_output=True, text=True, timeout=60)
    assert "echo" in [tool["name"] for tool in json.loads(done.stdout)["result"]["tools"]]


def _step(base: str, title: str) -> str:
    way = next(each for each in ways(f"{base}/mcp") if each.title == title)
    return next(iter(way.steps.values()))


@pytest.mark.asyncio(loop_scope="module")
async def test_a_snippet_is_opened_and_copied_by_keyboard_alone(base: str, chromium: Browser, tmp_path: Path) -> None:
    options = {"viewport": {"width": 390, "height": 800}, "permissions": ["clipboard-read", "clipboard-write"]}
    page, complaints = await watched(chromium, **options)
    await page.goto(f"{base}/")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await page.get_by_text("Python", exact=True).focus()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_text("Copied").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == _step(base, "Python")
    assert complaints == []
