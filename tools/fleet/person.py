"""What a person does in the browser, by HTTP: allow the client, then be somebody at the fake identity provider.

`python -m tools.fleet.person ADDRESS` stands in for a browser that a client opens: it signs in and visits the client.
"""

from __future__ import annotations

import argparse
import asyncio
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urljoin, urlsplit

import httpx2

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_ACTION = re.compile(r'<form method="post" action="([^"]*)"')
_PAGES = 8


class Lost(RuntimeError):
    """The pages did not lead back to the client; the message says where they ended."""


class Person:
    """Somebody with a browser of their own: cookies are kept, redirects are followed by hand."""

    def __init__(self, name: str = "alice") -> None:
        self._name = name
        self._http = httpx2.AsyncClient(timeout=60, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def sign_in(self, url: str) -> str:
        """From a client's authorization URL to the address that the browser is sent back to; it is not visited."""
        home = urlsplit(url).netloc
        shown = await self._http.get(url)
        for _ in range(_PAGES):
            going = shown.headers.get("location")
            if going is None:
                shown = await self._fill_in(shown)
                continue
            following = urljoin(str(shown.url), going)
            if urlsplit(following).netloc != home:
                return following
            shown = await self._http.get(following)
        raise Lost(f"no way back to the client after {_PAGES} pages; the last was {shown.url.copy_with(query=None)}")

    async def code(self, url: str) -> str:
        """The code that a sign-in gives the client."""
        said = dict(parse_qsl(urlsplit(await self.sign_in(url)).query))
        if "code" not in said:
            raise Lost(f"the sign-in gave no code: {said.get('error')} {said.get('error_description')}")
        return said["code"]

    async def visit_client(self, url: str) -> str:
        """Sign in and go where the browser is sent back to; what the client shows there."""
        return (await self._http.get(await self.sign_in(url))).raise_for_status().text

    async def _fill_in(self, shown: httpx2.Response) -> httpx2.Response:
        action = _ACTION.search(shown.text)
        if shown.status_code != httpx2.codes.OK or action is None:
            raise Lost(f"{shown.url.copy_with(query=None)} answered {shown.status_code} and shows no form")
        chosen: dict[str, Any] = {"decision": "allow", "user_id": self._name}
        return await self._http.post(
            urljoin(str(shown.url), action[1]), data=dict(_HIDDEN.findall(shown.text)) | chosen
        )


async def signed_in(address: str, user: str) -> str:
    """What a client shows to a person whom it has sent to `address` to sign in."""
    async with Person(user) as person:
        return await person.visit_client(address)


def main() -> None:
    """Be the browser, once; with `--log`, leave a line there before it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--user", default="alice")
    parser.add_argument("--log", type=Path)
    chosen = parser.parse_args()
    if chosen.log:
        with chosen.log.open("a") as log:
            log.write("opened\n")
    asyncio.run(signed_in(chosen.address, chosen.user))


if __name__ == "__main__":
    main()
