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
from tools.lab.inspector import PROGRAM, configured, storing_in

PICTURES: Final = HERE.parents[1] / ".cache" / "lab" / "inspector-web"
CHROMIUM: Final = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
LIMIT_MS: Final = 40_000
ANSWERS: Final = {"read": "This is what you may read.", "write": "Written: something", "ping_back": "pong"}
MOST_AGREED: Final = 3
"""Step-ups that the person agrees to for one call."""

MOST_TRIED: Final = 8
"""Attempts at one call: on a busy machine a token of five seconds may have ended before it is used."""

AGREES: Final = re.compile("authorize|proceed", re.IGNORECASE)
"""The button that a step-up waits for."""

MARK: Final = "() => { window.before = true }"
"""Gone where the page has been away, at an issuer."""

AWAY: Final = "() => !window.before"
ANSWERED: Final = """([answer, agrees]) => !window.before || document.body.innerText.includes(answer)
  || [...document.querySelectorAll("button")].some((each) => new RegExp(agrees, "i").test(each.innerText))"""


@contextmanager
def web(node: str, url: str, folder: Path) -> Iterator[str]:
    """The address of Inspector's page, with the endpoint in its list."""
    config, _ = configured(folder, url)
    env = {**unmeasured(), "HOST": LOOPBACK, "MCP_AUTO_OPEN_ENABLED": "false", **storing_in(folder)}
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
    connected = page.get_by_label("Disconnect from server")
    over = page.get_by_text(re.compile("^(Failed|Error)$"))
    expect(connected.or_(over).first).to_be_visible()
    if not connected.is_visible():
        raise RuntimeError(f"the page says that it failed: {page.get_by_role('alert').all_inner_texts()}")


def _call(page: Page, tool: str) -> None:
    """Execute a tool until its answer is there.

    On the way the person agrees to a step-up that the page asks for, and executes the tool again where the page has
    been away to sign in: it says "Retry your action" then.

    Raises:
        RuntimeError: it is not answered after `MOST_AGREED` step-ups, or `MOST_TRIED` attempts.
    """
    agreed = 0
    for _ in range(MOST_TRIED):
        _listed(page, tool).click()
        page.evaluate(MARK)
        page.get_by_role("button", name="Execute Tool").click()
        page.wait_for_function(ANSWERED, arg=[ANSWERS[tool], AGREES.pattern])
        if page.get_by_text(ANSWERS[tool]).first.is_visible():
            return
        agreed += _let_agree(page)
        if agreed == MOST_AGREED:
            break
    raise RuntimeError(f"{tool} is not answered")


def _listed(page: Page, tool: str) -> Locator:
    """A tool of the list; where the page could not load it, it offers to try again."""
    listed = page.get_by_role("button", name=tool, exact=True).first
    again, agree = page.get_by_role("button", name="Retry", exact=True), page.get_by_role("button", name=AGREES)
    page.get_by_text("Tools", exact=True).first.click()
    for _ in range(MOST_AGREED):
        expect(listed.or_(again).or_(agree).first).to_be_visible()
        if agree.is_visible():
            _let_agree(page)
        elif again.is_visible():
            again.click()
            expect(listed.or_(agree).first).to_be_visible()
    return listed


def _let_agree(page: Page) -> bool:
    """Agree to the step-up that the page asks for, if it does, and wait until it is back."""
    agree = page.get_by_role("button", name=AGREES)
    asks = agree.is_visible()
    if asks:
        page.evaluate(MARK)
        agree.click()
        page.wait_for_function(AWAY)
    _connected(page)
    return asks


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
