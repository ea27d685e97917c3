"""Documents of the vault in HashiCorp Vault or OpenBao: the key-value engine, version 2. Satisfies `Documents`.

Spoken over plain HTTP: five requests of a stable interface, with check-and-set, for which a client library would bring
nothing but its weight. (https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from switchboard.errors import VaultUnavailable
from switchboard.vault.store_http import StoreHttp

WHAT: Final = "HashiCorp Vault"


class HashicorpDocuments:
    """The secrets below one path.

    Args:
        url: `https://HOST:PORT/MOUNT/PATH…`: the engine's mount and the folder in it.
        token: gives the token to use now; it may be another each time, as an agent writes it.
        namespace: of the enterprise edition; empty for none.
    """

    def __init__(self, url: str, http: httpx2.AsyncClient, token: Callable[[], str], namespace: str = "") -> None:
        parts = urlsplit(url)
        mount, _, folder = parts.path.strip("/").partition("/")
        self._base = f"{parts.scheme}://{parts.netloc}/v1/{mount}"
        self._folder = folder or "switchboard"
        self._http = StoreHttp(http, WHAT)
        self._token = token
        self._namespace = namespace

    async def get(self, name: str) -> tuple[str, str] | None:
        """See `Documents`."""
        status, found = await self._ask("GET", f"data/{self._folder}/{name}")
        if status == 404:
            return None
        data = found["data"]
        return str(data["data"]["document"]), str(data["metadata"]["version"])

    async def set(self, name: str, text: str, expected: str | None) -> bool:
        """See `Documents`."""
        version = int(expected) if expected else await self._deleted_version(name)
        body = {"options": {"cas": version}, "data": {"document": text}}
        status, _ = await self._ask("POST", f"data/{self._folder}/{name}", body)
        if status == 404:
            raise VaultUnavailable(f"{WHAT} has no key-value engine at {self._base}")
        return status != 400

    async def _deleted_version(self, name: str) -> int:
        """What a write must name where nothing is: 0, or the version that somebody deleted and did not destroy."""
        _, found = await self._ask("GET", f"data/{self._folder}/{name}")
        data = found.get("data") or {}
        return int(data["metadata"]["version"]) if data and not data.get("data") else 0

    async def remove(self, name: str) -> None:
        """See `Documents`: with all versions."""
        await self._ask("DELETE", f"metadata/{self._folder}/{name}")

    async def names(self, prefix: str) -> list[str]:
        """See `Documents`."""
        status, found = await self._ask("GET", f"metadata/{self._folder}?list=true")
        names = [] if status == 404 else found["data"]["keys"]
        return sorted(name for name in names if name.startswith(prefix) and not name.endswith("/"))

    async def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """The answer; 404 and, for a check-and-set that failed, 400 among them."""
        headers = {"x-vault-token": self._token(), "x-vault-request": "true"}
        if self._namespace:
            headers["x-vault-namespace"] = self._namespace
        status, found = await self._http.ask(
            method, f"{self._base}/{path}", headers=headers, body=body, also=(400, 404)
        )
        if status == 400 and "check-and-set" not in str(found):
            raise VaultUnavailable(f"{WHAT} refuses a request (400): is {self._base} a key-value engine of version 2?")
        return status, found
