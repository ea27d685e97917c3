"""Who this process is at Azure: an access token for Key Vault, got anew before it ends.

By the variables that Azure's own libraries read: a client secret, or a federated token in a file (workload identity),
and without either the managed identity of the machine.
(https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from switchboard.errors import VaultUnavailable
from switchboard.vault.store_http import StoreHttp

SCOPE: Final = "https://vault.azure.net"
AUTHORITY: Final = "https://login.microsoftonline.com"
METADATA: Final = "http://169.254.169.254/metadata/identity/oauth2/token"
EARLY_S: Final = 300.0
"""How long before its end a token is replaced."""

_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class AzureIdentity:
    """What Azure knows us by; all empty for the machine's managed identity."""

    tenant: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    token_file: Path | None = None
    """A federated token, which is replaced now and then."""
    authority: str = AUTHORITY
    metadata: str = METADATA


class AzureTokens:
    """Tokens of one identity.

    Args:
        clock: seconds; of this process alone.
    """

    def __init__(self, identity: AzureIdentity, http: StoreHttp, clock: Callable[[], float] = time.monotonic) -> None:
        self._identity = identity
        self._http = http
        self._clock = clock
        self._token = ""
        self._ends = float("-inf")
        self._turn = asyncio.Lock()

    async def token(self) -> str:
        """The token to use now.

        Raises:
            VaultUnavailable: Azure gives none.
        """
        async with self._turn:
            if self._clock() > self._ends - EARLY_S:
                asked = self._clock()
                found = await self._fetched()
                try:
                    self._token, self._ends = str(found["access_token"]), asked + float(found["expires_in"])
                except (KeyError, TypeError, ValueError):
                    raise VaultUnavailable("Azure gives no token: its answer lacks one") from None
            return self._token

    def forget(self) -> None:
        """Get another next time: this one was not taken."""
        self._ends = float("-inf")

    async def _fetched(self) -> Any:
        us = self._identity
        if not (us.client_secret or us.token_file):
            query = f"?api-version=2018-02-01&resource={SCOPE}" + (f"&client_id={us.client_id}" if us.client_id else "")
            return (await self._http.ask("GET", us.metadata + query, headers={"metadata": "true"}))[1]
        form: Mapping[str, str] = {
            "grant_type": "client_credentials",
            "client_id": us.client_id,
            "scope": f"{SCOPE}/.default",
            **self._proof(),
        }
        url = f"{us.authority.rstrip('/')}/{us.tenant}/oauth2/v2.0/token"
        return (await self._http.ask("POST", url, headers={}, form=form))[1]

    def _proof(self) -> Mapping[str, str]:
        if self._identity.token_file is None:
            return {"client_secret": self._identity.client_secret}
        try:
            assertion = self._identity.token_file.read_text().strip()
        except OSError as error:
            raise VaultUnavailable(f"AZURE_FEDERATED_TOKEN_FILE cannot be read ({error.strerror})") from None
        return {"client_assertion": assertion, "client_assertion_type": _ASSERTION}
