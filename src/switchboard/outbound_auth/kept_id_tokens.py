"""The ID tokens of people who signed in at their company's identity provider, through our authorization server.

What the provider gave at the last sign-in, or when it was asked again at a refresh, is kept in the vault until it ends:
so calls can be authorized as that person's at other servers that trust the provider (ID-JAG).
"""

from __future__ import annotations

from typing import Final

import structlog

from switchboard.common.jose import InvalidJwt, peek
from switchboard.errors import CredentialUnavailable, StateUnavailable
from switchboard.identity import Caller, Principal
from switchboard.outbound_auth.client import OAuthClient
from switchboard.outbound_auth.token_set import ID_TOKEN
from switchboard.vault import RecordKey, RecordRefused, Vault

RECORD: Final = "id_token"
"""The name of a person's ID token among the gateway's records."""

SIGN_IN_AGAIN: Final = "sign in again in the application that you call this gateway with"

log = structlog.get_logger("switchboard.outbound_auth")


class KeptIdTokens:
    """People's ID tokens. Satisfies `SubjectTokens` of the strategies.

    Args:
        issuer: our authorization server, which people's access tokens name.
    """

    def __init__(self, vault: Vault, issuer: str) -> None:
        self._vault = vault
        self._issuer = issuer

    async def keep(self, subject: str, token: str) -> None:
        """Keep what was verified already. Never raises: the sign-in itself goes on without.

        Args:
            subject: the person, as our authorization server calls them.
        """
        person = Principal(self._issuer, subject, "").person
        try:
            claims = peek(token).claims
            value = {"token": token, "issuer": str(claims["iss"])}
            await self._vault.put(self._key(person), value, purpose="signed in", expires_at=float(claims["exp"]))
        except (StateUnavailable, RecordRefused, InvalidJwt, KeyError, TypeError, ValueError) as error:
            log.warning("id_token.not_kept", error=type(error).__name__)

    async def token(self, caller: Caller, asked: OAuthClient) -> tuple[str, str]:
        """The caller's ID token, and its type (RFC 8693 §3).

        Args:
            asked: who is going to see it.

        Raises:
            CredentialUnavailable: there is none that is still good, or another issued it.
        """
        record = await self._vault.get(self._key(caller.principal.person), purpose="exchange it for a call")
        if record is None:
            raise CredentialUnavailable(f"Your sign-in at your company is not good any more: {SIGN_IN_AGAIN}")
        issuer = (await asked.endpoints()).issuer
        if issuer != record.value["issuer"]:
            raise CredentialUnavailable(
                f"You signed in at {record.value['issuer']}, and {asked.provider.name} is {issuer}: the operator has to"
                " name the same identity provider for both"
            )
        return str(record.value["token"]), ID_TOKEN

    @staticmethod
    def _key(person: str) -> RecordKey:
        return RecordKey("gateway", RECORD, person)
