"""A real Chromium for tests of pages, and what is looked at on every page."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from playwright.async_api import Browser, async_playwright, expect

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
