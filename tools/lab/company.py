"""A person's sign-in at a company's identity provider, which the SDKs leave to the program that uses them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2

from tools.lab.calls import SCOPE, Told

REDIRECT: Final = "http://127.0.0.1:9/signed-in"
"""Never listened at: the redirect that carries the code is read, not followed."""

_TYPE: Final = "urn:ietf:params:oauth:token-type:"
EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"


async def id_jag(known: Told, audience: str, resource: str) -> str:
    """An assertion of the company for this issuer and endpoint: code flow, then token exchange (RFC 8693).

    Raises:
        httpx2.HTTPStatusError: the provider refused.
    """
    async with httpx2.AsyncClient(timeout=60) as http:
        about = await http.get(f"{known.company}/.well-known/openid-configuration")
        provider: dict[str, Any] = about.raise_for_status().json()
        asked = {"client_id": known.client, "redirect_uri": REDIRECT, "response_type": "code", "scope": "openid"}
        back = await http.get(provider["authorization_endpoint"], params=asked)
        (code,) = parse_qs(urlsplit(back.headers["location"]).query)["code"]
        redeemed = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
        identity = await _tokens(http, provider, known, redeemed)
        exchange = {
            "grant_type": EXCHANGE,
            "requested_token_type": f"{_TYPE}id-jag",
            "subject_token_type": f"{_TYPE}id_token",
            "subject_token": identity["id_token"],
            "audience": audience,
            "resource": resource,
            "scope": SCOPE,
        }
        found = await _tokens(http, provider, known, exchange)
        return str(found["access_token"])


async def _tokens(
    http: httpx2.AsyncClient, provider: dict[str, Any], known: Told, form: dict[str, str]
) -> dict[str, Any]:
    answer = await http.post(provider["token_endpoint"], data={"client_id": known.client, **form})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found
