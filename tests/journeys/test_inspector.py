"""MCP Inspector 2.12, as people use it: its command line and its page, signing in through our pages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.fleet.children import LOOPBACK, Child, free_port, start
from tools.fleet.workers import Fleet

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / ".cache" / "screenshots"
"""Where the pages of the last run can be looked at; not kept by git."""
VERSIONS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
QUIET_CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

Inspect = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Inspector:
    """The program, at home in a folder of its own so that it knows no token from before."""

    program: Path
    home: Path

    @property
    def browser(self) -> Path:
        """A program that takes an address and nothing else."""
        script = self.home / "browser"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tools.fleet.person "$1" --user carol\n')
        script.chmod(0o755)
        return script

    @property
    def environment(self) -> dict[str, str]:
        """Node 22 first, no keychain, and a browser that signs in as carol without being looked at."""
        return {
            **os.environ,
            "PATH": f"{self.program.parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.home),
            "MCP_INSPECTOR_SECRET_STORE": "file",
            "BROWSER": str(self.browser),
        }


@pytest.fixture
def inspector(node: str, tmp_path: Path) -> Inspector:
    return Inspector(Path(node).with_name("mcp-inspector"), tmp_path)


@pytest.fixture
def inspect(inspector: Inspector, fleet: Fleet) -> Inspect:
    """Run the command line: `inspect("--method", …)` gives the result."""

    def run(*arguments: str, era: str, **env: str) -> dict[str, Any]:
        command = [str(inspector.program), "--cli", "--server-url", fleet.url, "--transport", "http"]
        done = subprocess.run(
            [*command, "--protocol-era", era, "--format", "json", *arguments],
            env=inspector.environment | env,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        result: dict[str, Any] = json.loads(done.stdout)["result"]
        return result

    return run


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_its_command_line_signs_in_with_oauth_and_calls_a_tool(inspect: Inspect, era: str) -> None:
    callback = f"http://{LOOPBACK}:{free_port()}/oauth/callback"
    call = ("--method", "tools/call", "--tool-name", "whoami")
    me = inspect(*call, "--callback-url", callback, era=era, MCP_AUTO_OPEN_ENABLED="true")["structuredContent"]
    assert (me["subject"], me["protocolVersion"]) == ("carol", VERSIONS[era])
    assert (me["session"] is None) == (era == "modern")


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_its_command_line_lists_and_calls_with_a_token_of_ours(inspect: Inspect, token: str, era: str) -> None:
    bearer = ("--header", f"Authorization: Bearer {token}")
    tools = inspect("--method", "tools/list", *bearer, era=era)["tools"]
    assert "mcp_apps_hello_world" in {tool["name"] for tool in tools}
    echo = ("--tool-name", "echo", "--tool-arg", "message=hello")
    assert inspect("--method", "tools/call", *echo, *bearer, era=era)["content"][0]["text"] == "Echo: hello"
    resources = inspect("--method", "resources/list", *bearer, era=era)["resources"]
    assert len(resources) >= 100
    prompts = inspect("--method", "prompts/list", *bearer, era=era)["prompts"]
    assert {prompt["name"] for prompt in prompts} == {"simple_prompt", "complex_prompt", "resource_prompt"}


@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_its_command_line_finds_no_fault_with_the_schemas(inspect: Inspect, token: str, era: str) -> None:
    bearer = ("--header", f"Authorization: Bearer {token}")
    assert inspect("--method", "tools/list", "--strict", *bearer, era=era)["tools"]


@pytest.fixture
def web(inspector: Inspector, fleet: Fleet) -> Iterator[str]:
    """The address of Inspector's page, with our fleet in its list."""
    servers = {"sb": {"type": "streamable-http", "url": fleet.url}}
    config = inspector.home / "servers.json"
    config.write_text(json.dumps({"mcpServers": servers}))
    env = inspector.environment | {"HOST": LOOPBACK, "MCP_AUTO_OPEN_ENABLED": "false"}
    env |= {name: str(free_port()) for name in ("CLIENT_PORT", "MCP_SANDBOX_PORT", "MCP_APP_ORIGIN_PORT")}
    command = [str(inspector.program), "--web", "--config", str(config)]
    child = start("inspector", command, inspector.home, env)
    child.wait_until(lambda: _address(child) is not None, timeout=120)
    yield str(_address(child))
    child.stop()


def _address(child: Child) -> str | None:
    found = re.search(r"http://127\.0\.0\.1:\d+\?MCP_INSPECTOR_API_TOKEN=\w+", child.tail(100))
    return found[0] if found else None


@pytest.fixture
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=QUIET_CHROMIUM)
        yield running
        running.close()


def look(page: Page, name: str) -> None:
    """Keep a picture of the page for people."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SCREENSHOTS / f"{name}.png"))


def test_its_page_signs_in_through_our_pages_and_calls_a_tool(browser: Browser, web: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(60_000)
    page.goto(web)
    page.get_by_label('Connect or disconnect "sb"').click(force=True)

    page.wait_for_url("**/authorize?**")
    expect(page.get_by_role("heading", name="MCP Inspector asks for access")).to_be_visible()
    look(page, "consent")
    page.get_by_role("button", name="Allow").click()

    expect(page.get_by_role("heading", name="Who are you today?")).to_be_visible()
    page.get_by_label("User ID").fill("dora")
    look(page, "identity-provider")
    page.get_by_role("button", name="Continue").click()

    expect(page.get_by_text("Connected", exact=True)).to_be_visible(timeout=60_000)
    page.get_by_text("Tools", exact=True).first.click()
    page.get_by_role("button", name="Who am I?").click()
    page.get_by_role("button", name="Execute Tool").click()
    expect(page.get_by_text(re.compile('"subject": "dora"')).first).to_be_visible(timeout=60_000)
    look(page, "inspector")
