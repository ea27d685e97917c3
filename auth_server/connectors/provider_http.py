"""HTTP to the identity provider that the settings name: bounded, and behind a breaker."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx2

from switchboard.common import strict_json
from switchboard.common.breaker import Breaker
from switchboard.common.discovery import MAX_DOCUMENT
from switchboard.errors import AuthorizationUnavailable


class ProviderHttp:
    """Gets and posts for JSON objects."""

    def __init__(self, http: httpx2.AsyncClient, clock: Callable[[], float] = time.time) -> None:
        self._http = http
        self._clock = clock
        self._breaker = Breaker()

    async def get(self, url: str, bearer: str = "") -> tuple[int, dict[str, Any]]:
        """Status and JSON object; the object is empty when the answer is none."""
        headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        return await self._send(self._http.build_request("GET", url, headers=headers))

    async def post(
        self, url: str, form: dict[str, str], auth: httpx2.BasicAuth | None = None
    ) -> tuple[int, dict[str, Any]]:
        """As `get`."""
        return await self._send(
            self._http.build_request("POST", url, data=form, headers={"Accept": "application/json"}), auth
        )

    async def document(self, url: str) -> dict[str, Any]:
        """A JSON object that has to be there."""
        status, found = await self.get(url)
        if status != 200 or not found:
            raise AuthorizationUnavailable(f"the identity provider answered {status} for {url}")
        return found

    async def _send(self, request: httpx2.Request, auth: httpx2.BasicAuth | None = None) -> tuple[int, dict[str, Any]]:
        if not self._breaker.allows(self._clock()):
            raise AuthorizationUnavailable("the identity provider did not answer lately")
        try:
            response = await self._http.send(request, auth=auth, follow_redirects=False)
        except httpx2.HTTPError as error:
            self._breaker.failed(self._clock())
            # The class alone: the message may hold parts of the request.
            raise AuthorizationUnavailable(f"the identity provider cannot be reached: {type(error).__name__}") from None
        if response.status_code >= 500 or response.status_code == 429:
            self._breaker.failed(self._clock())
            raise AuthorizationUnavailable(f"the identity provider answered {response.status_code}")
        self._breaker.succeeded()
        return response.status_code, _object(response)


def _object(response: httpx2.Response) -> dict[str, Any]:
    if len(response.content) > MAX_DOCUMENT:
        return {}
    try:
        return strict_json.read_object(response.content)
    except ValueError:
        return {}
