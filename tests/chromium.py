"""A real Chromium for tests of pages, and what is looked at on every page."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

CHROMIUM: Final = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

WITHIN_MS: Final = 120_000
"""How long a page may take for anything on a busy machine: what is not there by then will not come."""

expect.set_options(timeout=WITHIN_MS)


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser; the test is skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH; name one in CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started() -> AsyncIterator[Browser]:
    """The browser of a module, for `chromium`."""
    async with launched() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def chromium(started: Browser) -> AsyncIterator[Browser]:
    """The module's browser, with no pages, cookies or storage of other tests in it."""
    yield started
    for context in started.contexts:
        await context.close()


async def watched(browser: Browser, **options: Any) -> tuple[Page, list[str]]:
    """A page, and whatever it complains about."""
    page = await (await browser.new_context(**options)).new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    return page, complaints


AUDIT: Final = """() => {
  const label = (e) => (e.labels && e.labels[0] && e.labels[0].innerText) || "";
  const named = (e) => (e.getAttribute("aria-label") || e.innerText || label(e)).trim();
  const shown = (e) => e.offsetParent !== null && e.type !== "hidden";
  const all = (what) => [...document.querySelectorAll(what)].filter(shown);
  return {
    lang: document.documentElement.lang,
    title: document.title.length > 0,
    headings: all("h1").length,
    mains: all("main").length,
    nameless: all("button, input, a").filter((e) => !named(e)).map((e) => e.outerHTML),
    small: all("button").filter((e) => e.getBoundingClientRect().height < 24).map((e) => e.outerHTML),
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
  };
}"""
"""What a page is like, for WCAG 1.4.10, 2.4.2, 2.5.8, 3.1.1 and 4.1.2."""

GOOD: Final[dict[str, Any]] = {
    "lang": "en",
    "title": True,
    "headings": 1,
    "mains": 1,
    "nameless": [],
    "small": [],
    "wide": False,
}
"""What `AUDIT` finds on a page with nothing wrong."""
