"""Driver of MCP Inspector's page, in Chromium. `python -m tools.lab.inspector_web NODE URL`.

It does what a person does there, and keeps a picture of what the page shows in the end in .cache/lab.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tools.fleet.children import LOOPBACK, Child, free_port, start
from tools.fleet.workers import unmeasured
from tools.lab.calls import TOOLS, pauses
from tools.lab.drivers import HERE
from tools.lab.inspector import ENVIRONMENT, PROGRAM, configured

PICTURES: Final = HERE.parents[1] / ".cache" / "lab" / "inspector-web"
CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
LIMIT_MS: Final = 40_000
ANSWERS: Final = {"read": "This is what you may read.", "write": "Written: something", "ping_back": "pong"}
MOST_AGREED: Final = 3
"""Step-ups that the person agrees to for one call."""


@contextmanager
def web(node: str, url: str, folder: Path) -> Iterator[str]:
    """The address of Inspector's page, with the endpoint in its list."""
    config, installation = configured(folder, url)
    env = {**unmeasured(), "HOST": LOOPBACK, "MCP_AUTO_OPEN_ENABLED": "false"} | ENVIRONMENT
    env |= {"MCP_CLIENT_CONFIG_PATH": str(installation)}
    env |= {name: str(free_port()) for name in ("CLIENT_PORT", "MCP_SANDBOX_PORT", "MCP_APP_ORIGIN_PORT")}
    child = start("inspector", [node, PROGRAM, "--web", "--config", str(config)], folder, env)
    try:
        child.wait_until(lambda: _address(child) is not None, timeout=60)
        yield str(_address(child))
    finally:
        child.stop(timeout=5)


def _address(child: Child) -> str | None:
    found = re.search(r"http://127\.0\.0\.1:\d+\?MCP_INSPECTOR_API_TOKEN=\w+", child.tail(100))
    return found[0] if found else None


def use(page: Page, address: str) -> None:
    """Connect, and call; raises what Playwright raises where the page does not show what it should."""
    page.set_default_timeout(LIMIT_MS)
    expect.set_options(timeout=LIMIT_MS)
    page.goto(address)
    page.get_by_label('Connect or disconnect "lab"').click(force=True)
    _connected(page)
    for pause in (0, *pauses()):
        time.sleep(pause)
        for tool in TOOLS:
            _call(page, tool)


def _connected(page: Page) -> None:
    """Wait until the page says so.

    Raises:
        RuntimeError: it says that it failed.
    """
    failed = page.get_by_text("Failed", exact=True)
    expect(page.get_by_text("Connected", exact=True).or_(failed).first).to_be_visible()
    if failed.is_visible():
        raise RuntimeError("the page says: Failed")


def _call(page: Page, tool: str) -> None:
    """Execute a tool until its answer is there, agreeing to what the page asks for on the way."""
    answer, agree = page.get_by_text(ANSWERS[tool]).first, _agree(page)
    for _ in range(MOST_AGREED):
        page.get_by_text("Tools", exact=True).first.click()
        page.get_by_role("button", name=tool, exact=True).first.click()
        page.get_by_role("button", name="Execute Tool").click()
        expect(answer.or_(agree).first).to_be_visible()
        if not agree.is_visible():
            return
        agree.click()
        _connected(page)
    raise RuntimeError(f"{tool} is not answered after {MOST_AGREED} step-ups")


def _agree(page: Page) -> Locator:
    return page.get_by_role("button", name=re.compile("authorize|proceed", re.IGNORECASE))


def main(node: str, url: str) -> None:
    """Open the page, and look at it in the end."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        web(node, url, Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser: Browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        try:
            use(page, address)
        finally:
            page.screenshot(path=str(PICTURES / f"{url.split('/')[-2]}.png"))
            browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
