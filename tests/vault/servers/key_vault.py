"""Azure Key Vault's secrets, and where Azure gives out tokens for it: what their public API says, in memory.

https://learn.microsoft.com/rest/api/keyvault/secrets/operation-groups
https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

PAGE = 3
"""Secrets on a page of the list, that there are several."""


class KeyVault:
    """One key vault and its tenant `contoso`."""

    def __init__(self) -> None:
        self.url = ""
        """Where it is served."""
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        """Versions by name."""
        self.deleted: set[str] = set()
        self.tokens: set[str] = set()
        self.grants: list[dict[str, str]] = []
        """What tokens were asked for with."""
        self.next_link = ""
        self.app = Starlette(
            routes=[
                Route("/contoso/oauth2/v2.0/token", self.token, methods=["POST"]),
                Route("/metadata/identity/oauth2/token", self.managed_identity, methods=["GET"]),
                Route("/secrets", self.listed, methods=["GET"]),
                Route("/secrets/{name}", self.secret, methods=["GET", "PUT"]),
            ]
        )

    async def token(self, request: Request) -> Response:
        """By a client's secret or a federated token."""
        form = {name: str(value) for name, value in (await request.form()).items()}
        self.grants.append(form)
        proven = form.get("client_secret") == "the-secret" or form.get("client_assertion") == "the.federated.token"
        if form.get("scope") != "https://vault.azure.net/.default" or not proven:
            return JSONResponse({"error": "invalid_client"}, 401)
        return self._granted()

    async def managed_identity(self, request: Request) -> Response:
        """By being the machine."""
        self.grants.append(dict(request.query_params))
        if request.headers.get("metadata") != "true" or request.query_params["resource"] != "https://vault.azure.net":
            return JSONResponse({"error": "invalid_request"}, 400)
        return self._granted()

    async def secret(self, request: Request) -> Response:
        """Read the newest version, or write one."""
        if refused := self._refused(request):
            return refused
        name = request.path_params["name"]
        if not re.fullmatch("[0-9A-Za-z-]{1,127}", name):
            return JSONResponse({"error": {"code": "BadParameter"}}, 400)
        if request.method == "GET":
            found = self.secrets.get(name)
            return JSONResponse(found[-1]) if found else JSONResponse({"error": {"code": "SecretNotFound"}}, 404)
        if name in self.deleted:
            return JSONResponse({"error": {"innererror": {"code": "ObjectIsDeletedButRecoverable"}}}, 409)
        body = await request.json()
        if len(body["value"]) > 25_600:
            return JSONResponse({"error": {"code": "BadParameter"}}, 400)
        version = {"id": f"{self.url}/secrets/{name}/{secrets.token_hex(16)}", **body}
        self.secrets.setdefault(name, []).append(version)
        return JSONResponse(version)

    async def listed(self, request: Request) -> Response:
        """A page of the names, without values."""
        if refused := self._refused(request):
            return refused
        start = int(request.query_params.get("$skiptoken", "0"))
        names = list(self.secrets)[start : start + PAGE]
        more = f"{self.url}/secrets?api-version=7.4&$skiptoken={start + PAGE}"
        value = [
            {"id": f"{self.url}/secrets/{name}", "tags": self.secrets[name][-1].get("tags") or None} for name in names
        ]
        link = (self.next_link or more) if start + PAGE < len(self.secrets) else None
        return JSONResponse({"value": value, "nextLink": link})

    def _granted(self) -> Response:
        token = secrets.token_urlsafe(16)
        self.tokens.add(token)
        return JSONResponse({"access_token": token, "expires_in": 3600, "token_type": "Bearer"})

    def _refused(self, request: Request) -> Response | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or "api-version" not in request.query_params:
            return JSONResponse({"error": {"code": "Unauthorized"}}, 401)
        return None
