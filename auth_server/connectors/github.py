"""A connector to GitHub: OAuth without ID tokens; the API says who the person is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from starlette.routing import Route

from auth_server.connectors.base import LoginRedirect, check_error
from auth_server.connectors.provider_http import ProviderHttp
from auth_server.crypto import pkce_challenge, pkce_parameters
from auth_server.errors import ProviderMisconfigured, SignInRefused
from auth_server.models import Identity
from auth_server.settings import GithubSettings
from switchboard.common.sealing import random_token
from switchboard.common.visible_text import excerpt
from switchboard.errors import AuthorizationUnavailable


class GitHub:
    """Signs people in at GitHub, or a GitHub Enterprise server."""

    def __init__(self, settings: GithubSettings, callback: str, web: ProviderHttp) -> None:
        self._settings = settings
        self._callback = callback
        self._web = web

    async def begin(self, state: str) -> LoginRedirect:
        """To GitHub. No scope is asked for: who it is can be read without one."""
        verifier = random_token()
        proof = pkce_parameters(pkce_challenge(verifier))
        page = f"{self._settings.site}/login/oauth/authorize"
        url = prepare_grant_uri(page, self._settings.client_id, "code", self._callback, state=state, **proof)
        return LoginRedirect(url, {"verifier": verifier})

    async def finish(self, params: Mapping[str, str], kept: Mapping[str, Any]) -> Identity:
        """Who came back."""
        check_error(params, "GitHub")
        sent = {
            "client_id": self._settings.client_id,
            "client_secret": self._settings.client_secret,
            "code": params.get("code", ""),
            "redirect_uri": self._callback,
            "code_verifier": kept["verifier"],
        }
        # Errors come with status 200 and an `error` member.
        status, tokens = await self._web.post(f"{self._settings.site}/login/oauth/access_token", sent)
        token = tokens.get("access_token")
        if status == 200 and tokens.get("error") in ("incorrect_client_credentials", "redirect_uri_mismatch"):
            trouble = f"GitHub does not take this server as its client ({tokens['error']})"
            raise ProviderMisconfigured(f"{trouble}: check UPSTREAM_CLIENT_ID and UPSTREAM_CLIENT_SECRET")
        if status != 200 or not isinstance(token, str) or not token:
            answered = excerpt(tokens.get("error", "without an error"))
            raise SignInRefused("server_error", f"GitHub gave no token: {status}, {answered}")
        return await self._person(token)

    async def renew(self, kept: str) -> Identity:
        """Ask with the token from the login; a person who left, or took it back, has none that works."""
        return await self._person(kept)

    async def logged_out(self, token: str) -> str | None:
        """GitHub has no back-channel logout."""
        return None

    def routes(self) -> list[Route]:
        """None: its pages are elsewhere."""
        return []

    async def _person(self, token: str) -> Identity:
        status, person = await self._web.get(f"{self._settings.api}/user", bearer=token)
        number = person.get("id")
        if status == 401:
            raise SignInRefused("access_denied", "the person left, or took the permission back")
        if status != 200 or not isinstance(number, int):
            raise AuthorizationUnavailable(f"GitHub answered {status} about the person")
        # The number, not the login name: names change hands.
        return Identity(subject=str(number), kept=token)
