"""One request to a store that is spoken to over HTTP: bounded, never redirected, tried again once when that is safe.

What goes wrong is `VaultUnavailable`, with the status and with nothing that was sent or answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from switchboard.errors import VaultUnavailable

TIMEOUT_S: Final = 5.0
"""For each step of a request; shorter than a lease."""

LARGEST: Final = 1_048_576


class StoreHttp:
    """Asks one store.

    Args:
        what: what messages call it.
    """

    def __init__(self, http: httpx2.AsyncClient, what: str) -> None:
        self._http = http
        self._what = what

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str] | None = None,
        also: tuple[int, ...] = (),
    ) -> tuple[int, Any]:
        """The status, and the JSON object that was answered, if any.

        Args:
            body: sent as JSON.
            form: sent as a form.
            also: statuses that are answers, besides 200 to 299.

        Raises:
            VaultUnavailable: there was no answer, or another one.
        """
        try:
            async with self._http.stream(
                method, url, headers=dict(headers), json=body, data=form, follow_redirects=False, timeout=TIMEOUT_S
            ) as answer:
                answered = await _bounded(answer)
        except httpx2.HTTPError as error:
            raise VaultUnavailable(f"{self._what} does not answer ({type(error).__name__})") from None
        status = answer.status_code
        if not (200 <= status < 300 or status in also):
            raise VaultUnavailable(f"{self._what} answers {status}{_HINTS.get(status, '')}")
        return status, self._parsed(answered, status)

    def _parsed(self, body: bytes, status: int) -> Any:
        if not body:
            return {}
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
        if status >= 400:
            return {}
        raise VaultUnavailable(f"{self._what} answers with something that is no JSON object") from None


async def _bounded(answer: httpx2.Response) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > LARGEST:
            raise httpx2.DecodingError("too large")
    return bytes(body)


_HINTS: Final = {
    401: ": it does not take our credentials",
    403: ": our credentials are not allowed to do that",
    429: ": too many requests",
    503: ": it is sealed, or starting",
}
