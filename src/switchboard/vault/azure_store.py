"""Documents of the vault in Azure Key Vault, one secret each. Satisfies `Documents`.

Spoken over plain HTTP: four requests of a stable interface, where Azure's libraries would bring three HTTP clients.
Key Vault has no conditional write, so writers of one secret take turns by a lock of the fleet. It keeps old versions
and, where soft-delete is on (it always is today), a deleted secret's name cannot be used again for days: so a record is
removed by a version without content. (https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from switchboard.errors import VaultUnavailable
from switchboard.vault.azure_identity import AzureIdentity, AzureTokens
from switchboard.vault.store_http import StoreHttp

WHAT: Final = "Azure Key Vault"
API: Final = "api-version=7.4"
REMOVED: Final = "removed"
"""What a secret says whose record was removed, and its tag."""

Lock = Callable[[str], AbstractAsyncContextManager[object]]


class AzureDocuments:
    """The secrets of one key vault whose names begin with a prefix.

    Args:
        url: `https://NAME.vault.azure.net`.
        prefix: letters, digits and hyphens.
        lock: makes writers of one name in this fleet take turns.
    """

    def __init__(self, url: str, prefix: str, http: httpx2.AsyncClient, identity: AzureIdentity, lock: Lock) -> None:
        self._base = url.rstrip("/")
        self._prefix = f"{prefix}-"
        self._http = StoreHttp(http, WHAT)
        self._tokens = AzureTokens(identity, self._http)
        self._lock = lock

    async def get(self, name: str) -> tuple[str, str] | None:
        """See `Documents`."""
        status, found = await self._ask("GET", f"/secrets/{self._prefix}{name}?{API}", also=(404,))
        if status == 404 or found.get("value") == REMOVED:
            return None
        return str(found["value"]), str(found["id"])

    async def set(self, name: str, text: str, expected: str | None) -> bool:
        """See `Documents`."""
        async with self._lock(name):
            found = await self.get(name)
            if (found[1] if found else None) != expected:
                return False
            await self._put(name, {"value": text, "tags": {}})
            return True

    async def remove(self, name: str) -> None:
        """See `Documents`."""
        async with self._lock(name):
            if await self.get(name) is not None:
                await self._put(name, {"value": REMOVED, "tags": {REMOVED: "true"}})

    async def names(self, prefix: str) -> list[str]:
        """See `Documents`."""
        found, url = [], f"/secrets?maxresults=25&{API}"
        while url:
            _, page = await self._ask("GET", url)
            for each in page.get("value") or []:
                name = str(each["id"]).rsplit("/", 1)[1]
                if name.startswith(self._prefix + prefix) and REMOVED not in (each.get("tags") or {}):
                    found.append(name.removeprefix(self._prefix))
            url = self._next(str(page.get("nextLink") or ""))
        return sorted(found)

    async def _put(self, name: str, body: Mapping[str, Any]) -> None:
        content = {"contentType": "application/json", **body}
        status, _ = await self._ask("PUT", f"/secrets/{self._prefix}{name}?{API}", body=content, also=(409,))
        if status == 409:
            raise VaultUnavailable(f"{WHAT} has a deleted secret {self._prefix}{name}: recover or purge it there")

    def _next(self, link: str) -> str:
        """The next page, which must be at the same key vault: our token goes there."""
        parts = urlsplit(link)
        if link and f"{parts.scheme}://{parts.netloc}" != self._base:
            raise VaultUnavailable(f"{WHAT} names a page of another server")
        return f"{parts.path}?{parts.query}" if link else ""

    async def _ask(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None, also: tuple[int, ...] = ()
    ) -> tuple[int, Any]:
        """Ask, with another token if the first is not taken."""
        for accepted in ((*also, 401), also):
            headers = {"authorization": f"Bearer {await self._tokens.token()}"}
            status, found = await self._http.ask(method, self._base + path, headers=headers, body=body, also=accepted)
            if status != 401:
                break
            self._tokens.forget()
        return status, found
