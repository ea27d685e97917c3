"""The identity provider, as far as it can be looked at without a person: part of `switchboard doctor`."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2

from auth_server.connectors.provider_check import examine, redirect_uri
from auth_server.settings import AuthSettings, OidcSettings
from switchboard.authorization import issuing_settings
from switchboard.cli.finding import Finding
from switchboard.common.discovery import Discovery, Unreadable, read_json
from switchboard.errors import AuthorizationUnavailable, ConfigurationError
from switchboard.external_issuer import TIMEOUT_S, ExternalIssuer, introspection_refusal, shortcomings
from switchboard.settings import Settings

CHECK = "provider"


async def provider_findings(settings: Settings) -> list[Finding]:
    """What can be said of whoever signs people in or issues the tokens; nothing when that is this server alone."""
    async with httpx2.AsyncClient(timeout=TIMEOUT_S) as http:
        try:
            if settings.auth_mode == "separate":
                return await _direct(settings, http)
            if settings.auth_mode == "integrated" and settings.upstream != "fake":
                return await _broker(issuing_settings(settings), http)
        except ConfigurationError as error:
            return [Finding(CHECK, "failed", str(error))]
    return []


async def _broker(issuing: AuthSettings, http: httpx2.AsyncClient) -> list[Finding]:
    back = redirect_uri(issuing)
    found = [Finding(CHECK, "ok", f"the redirect URI to register there is {back}")]
    if isinstance(issuing.upstream, OidcSettings):
        looked = examine(issuing.upstream, back, http, proving=True)
        found += [Finding(CHECK, verdict, said) async for verdict, said in looked]
    return found


async def _direct(settings: Settings, http: httpx2.AsyncClient) -> list[Finding]:
    url = settings.auth_server_url or ""
    issuer = ExternalIssuer(url, settings, http, Discovery(http, url))
    try:
        metadata = await issuer.metadata()
        found = [Finding(CHECK, "ok", f"its metadata names the issuer {url}")]
        asking = settings.token_validation == "introspection"  # noqa: S105 - a way to verify
        found += [Finding(CHECK, "warning", said) for said in shortcomings(metadata, introspecting=asking)]
        if asking:
            refusal = await introspection_refusal(issuer)
            found.append(Finding(CHECK, "failed" if refusal else "ok", refusal or "it takes our introspection client"))
        else:
            found.extend(_keys(await read_json(http, await issuer.keys())))
    except (AuthorizationUnavailable, Unreadable) as error:
        return [Finding(CHECK, "warning", str(error))]
    return found


def _keys(document: dict[str, object]) -> Iterator[Finding]:
    keys = document.get("keys")
    count = len(keys) if isinstance(keys, list) else 0
    yield Finding(CHECK, "ok" if count else "failed", f"its jwks_uri has {count} keys")
