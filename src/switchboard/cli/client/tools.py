"""`switchboard tools`: what a server offers, and what its definitions cost a model; `switchboard wait`."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Final
from urllib.parse import urljoin

import httpx2
import typer

from switchboard.catalog.pages import tokens
from switchboard.cli.client.server import (
    Browser,
    CallFailed,
    Header,
    Insecure,
    Token,
    Url,
    endpoint,
    headers,
    opened,
)
from switchboard.cli.exit_codes import ending_clearly, say
from switchboard.cli.output import AsJson, print_json, print_table
from switchboard.cli.progress import progress
from switchboard.common.visible_text import excerpt

POLL_S: Final = 0.25
ASKED_S: Final = 5.0
"""How long one probe may take."""


def tools(
    pattern: Annotated[str, typer.Argument(help="Only those whose name contains this.")] = "",
    url: Url = None,
    token: Token = None,
    header: Header = None,
    browser: Browser = True,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """List a server's tools, and about how many tokens each definition costs a model that is shown it."""
    with ending_clearly():
        found = asyncio.run(_listed(endpoint(url, insecure=insecure), headers(header, token), browser=browser))
        shown = [each for each in found if pattern in each["name"]]
        costs = [tokens(each) for each in shown]
        if as_json:
            print_json([{**each, "tokens": cost} for each, cost in zip(shown, costs, strict=True)])
            return
        told = [excerpt(each.get("title") or each.get("description") or "") for each in shown]
        rows = zip([each["name"] for each in shown], costs, told, strict=True)
        print_table(("tool", "tokens", "description"), rows)
        say(f"{len(shown)} tools, about {sum(costs)} tokens")


async def _listed(url: str, sent: dict[str, str], *, browser: bool) -> list[dict[str, Any]]:
    async with opened(url, sent, browser=browser, cache=None) as client:
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                return found


def wait(
    url: Url = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = 60,
    insecure: Insecure = False,
    as_json: AsJson = False,
) -> None:
    """Wait until a server is ready: exit code 0, or 1 if it is not in time."""
    with ending_clearly():
        probe = urljoin(endpoint(url, insecure=insecure), "readyz")
        ready = _ready(probe, timeout)
        print_json(ready) if as_json else say(f"{probe} says {ready['status']}")


def _ready(probe: str, timeout: float) -> dict[str, Any]:
    """What the probe answers once the server takes requests.

    Raises:
        CallFailed: that is not within `timeout` seconds.
    """
    until = time.monotonic() + timeout
    with progress(probe) as shown:
        while True:
            ready, said = _asked(probe)
            if ready is not None:
                return ready
            if time.monotonic() >= until:
                raise CallFailed(f"not ready within {timeout:g} s: {said}")
            shown.doing(said)
            time.sleep(POLL_S)


def _asked(probe: str) -> tuple[dict[str, Any] | None, str]:
    """What the probe answered, if the server takes requests; else why not."""
    try:
        answer = httpx2.get(probe, timeout=ASKED_S)
        document = answer.json()
    except httpx2.HTTPError as error:
        return None, f"{probe} cannot be reached: {error}"
    except ValueError:
        return None, f"{probe} answered {answer.status_code}, and no JSON: is it this server's address?"
    if not isinstance(document, dict) or "status" not in document:
        return None, f"{probe} answered {answer.status_code}, and nothing about its state"
    return (document, "") if answer.is_success else (None, f"{probe} says {document['status']}")
