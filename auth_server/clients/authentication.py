"""Client authentication: none, basic, post (RFC 6749 §2.3), private_key_jwt (RFC 7523)."""

from __future__ import annotations

import base64
from urllib.parse import unquote_plus

from starlette.requests import Request

from auth_server.crypto import KeyRing
from auth_server.errors import InvalidClient, Refusal
from auth_server.jwt.assertions import Assertions, claimed_client
from auth_server.models import CLIENT_ASSERTION, Client
from auth_server.params import Params
from auth_server.settings import AuthSettings
from auth_server.store.clients import Clients

SECRET_METHODS = ("client_secret_basic", "client_secret_post")


class ClientAuthentication:
    """Finds the client of a request and checks its credentials."""

    def __init__(self, clients: Clients, ring: KeyRing, assertions: Assertions, settings: AuthSettings) -> None:
        self._clients = clients
        self._ring = ring
        self._assertions = assertions
        # The issuer is what newer specifications ask for; older clients name the endpoint.
        self._audiences = (settings.issuer, f"{settings.base}/token")

    async def client(self, request: Request, params: Params) -> Client:
        """The authenticated client, or the public client that names itself.

        Raises:
            InvalidClient: unknown, or the credentials are wrong, missing, or of a kind the client does not use.
        """
        if params.get("client_assertion"):
            return await self._by_assertion(request, params)
        client_id, secret = self._credentials(request, params)
        client = await self._known(client_id)
        if client.auth_method == "none" and not secret:
            return client
        if client.auth_method in SECRET_METHODS and self._secret_is_right(client, secret):
            return client
        raise InvalidClient

    async def _known(self, client_id: str) -> Client:
        client = await self._clients.find(client_id)
        if client is None:
            raise InvalidClient("no such client")
        return client

    async def _by_assertion(self, request: Request, params: Params) -> Client:
        assertion = params.get("client_assertion")
        if request.headers.get("authorization") is not None or params.get("client_secret"):
            raise Refusal("invalid_request", "more than one way of client authentication was used")
        if params.get("client_assertion_type") != CLIENT_ASSERTION:
            raise Refusal("invalid_request", "client_assertion_type is not supported")
        client = await self._known(claimed_client(assertion))
        if params.get("client_id") not in ("", client.id):
            raise Refusal("invalid_request", "client_id differs from the one that authenticated")
        right = client.auth_method == "private_key_jwt"
        if not right or not await self._assertions.of_client(assertion, client, self._audiences):
            raise InvalidClient
        return client

    def _secret_is_right(self, client: Client, secret: str) -> bool:
        return bool(secret) and self._ring.matches("client secret", secret, client.secret_mac)

    @staticmethod
    def _credentials(request: Request, params: Params) -> tuple[str, str]:
        header = request.headers.get("authorization")
        posted_id, posted_secret = params.get("client_id"), params.get("client_secret")
        if header is None:
            if not posted_id:
                raise InvalidClient("client_id is missing")
            return posted_id, posted_secret
        client_id, secret = basic(header)
        if posted_secret:
            raise Refusal("invalid_request", "more than one way of client authentication was used")
        if posted_id not in ("", client_id):
            raise Refusal("invalid_request", "client_id differs from the one that authenticated")
        return client_id, secret


def basic(header: str) -> tuple[str, str]:
    """Client id and secret of an `Authorization: Basic` header, form-decoded as RFC 6749 §2.3.1 has it."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("the Authorization header must be Basic")
    try:
        name, _, secret = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except ValueError as error:  # not Base64, not ASCII, or not UTF-8 in it
        raise InvalidClient("the Authorization header is not well-formed") from error
    return unquote_plus(name), unquote_plus(secret)
