"""Checks of the identity provider before the first sign-in: at the start, and for `switchboard doctor`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

import httpx2
import structlog

from auth_server.connectors.base import CALLBACK_PATH
from auth_server.connectors.client import ProviderClient, refuses_us, trouble
from auth_server.connectors.oidc import discovery_of, provider_metadata
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.errors import ProviderMisconfigured
from auth_server.settings import AuthSettings, OidcSettings
from switchboard.common.sealing import random_token
from switchboard.errors import AuthorizationUnavailable

Verdict = Literal["ok", "warning", "failed"]

_START_S: Final = 5.0
_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})

log = structlog.get_logger("auth_server")


def redirect_uri(settings: AuthSettings) -> str:
    """What has to be registered at the provider."""
    return f"{settings.base}{CALLBACK_PATH}"


async def announce(settings: AuthSettings, http: httpx2.AsyncClient) -> None:
    """Log the redirect URI, and warn of a provider that cannot sign people in; the server starts all the same.

    The secret is not tried here: workers that start again and again with a wrong one could have the client locked.
    """
    named = settings.upstream
    if named is None:
        return
    issuer = named.issuer if isinstance(named, OidcSettings) else named.site
    log.info("provider.named", issuer=issuer, redirect_uri=redirect_uri(settings))
    if not isinstance(named, OidcSettings):
        return
    try:
        async with asyncio.timeout(_START_S):
            wrong = [said async for verdict, said in examine(named, redirect_uri(settings), http) if verdict != "ok"]
    except TimeoutError:
        wrong = [f"it did not answer within {_START_S:.0f} seconds"]
    if wrong:
        log.warning("provider.unready", issuer=issuer, why="; ".join(wrong))


async def examine(
    settings: OidcSettings,
    callback: str,
    http: httpx2.AsyncClient,
    *,
    proving: bool = False,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[tuple[Verdict, str]]:
    """Metadata, issuer and keys; with `proving` also whether the provider takes us as its client."""
    web = ProviderHttp(http, clock)
    try:
        metadata = await provider_metadata(discovery_of(settings, http, clock), settings.issuer)
        yield "ok", f"its metadata names the issuer {settings.issuer}"
        keys = (await web.document(metadata["jwks_uri"])).get("keys")
        found = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
        usable = sum(key.get("kty") in _KEY_TYPES for key in found)
        yield ("ok" if usable else "failed"), f"its jwks_uri has {usable} keys that can have signed an ID token"
        if not proving:
            return
        # A code that was never issued: a provider that knows us refuses the code, one that does not refuses us.
        form = {"grant_type": "authorization_code", "code": random_token(), "redirect_uri": callback}
        answer = await ProviderClient(settings, web, clock).post(metadata, form | {"code_verifier": random_token()})
        yield _proof(answer)
    except ProviderMisconfigured as error:
        yield "failed", str(error)
    except AuthorizationUnavailable as error:
        yield "warning", str(error)


def _proof(answer: tuple[int, dict[str, object]]) -> tuple[Verdict, str]:
    if refuses_us(answer):
        return "failed", trouble(answer)
    if answer[1].get("error") == "invalid_grant":
        return "ok", "it takes this server as its client"
    return "warning", f"whether it takes this server as its client cannot be told: {trouble(answer)}"
