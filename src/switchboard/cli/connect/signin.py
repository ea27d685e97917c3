"""Tokens by the SDK's OAuth client, kept in a file: the browser is needed once, and again only if refreshing fails."""

from __future__ import annotations

import asyncio
import logging
import webbrowser
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider, oauth2
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
    ProtectedResourceMetadata,
)
from pydantic import AnyUrl, ValidationError

from switchboard.cli.connect.callback import HOST, PATH, SIGN_IN_S, SignInFailed, free_port, listening
from switchboard.cli.connect.token_store import TokenFile

# What it logs with a traceback it raises too, for whoever tells the person, or it starts over.
logging.getLogger(oauth2.__name__).addFilter(lambda record: record.exc_info is None)

UNKNOWN_CLIENT: Final = (400, 401)
"""How an authorization endpoint answers, where it cannot tell the client (RFC 6749 §4.1.2.1)."""


class _NotTried(Exception):
    """A person would be sent to an address for a client that an earlier start registered."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self.address = address


class SignIn(OAuthClientProvider):
    """The SDK's provider, with what it leaves open: it keeps everything across starts, lets requests run side by side,
    takes turns with other processes of the same server, and registers anew where its registration was forgotten.

    Args:
        say: tells the person at the terminal.
        browser: whether to open one; else the address is only said.
    """

    def __init__(self, server: str, token_file: TokenFile, *, browser: bool, say: Callable[[str], None]) -> None:
        self._file = token_file
        self._browser = browser
        self._say = say
        self._stack = AsyncExitStack()
        self._brought: asyncio.Future[AuthorizationCodeResult]
        self._one_at_a_time = anyio.Lock()
        self._registered_before: str | None = None
        """The client that an earlier start registered, until it was seen that the issuer still knows it."""
        kept = _Kept(token_file)
        self._port = free_port()
        metadata = OAuthClientMetadata(
            client_name="Switchboard connect",
            redirect_uris=[AnyUrl(f"http://{HOST}:{self._port}{PATH}")],
            token_endpoint_auth_method="none",  # noqa: S106 (the name of a method)
        )
        super().__init__(server, metadata, kept, self._open, self._wait)
        self._kept = kept

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """With the token at once if there is one; only getting one is done by one request at a time."""
        if not self._initialized:
            self._load()
        used = self._token()
        if used is not None:
            self._add_auth_header(request)
            response = yield request
            if not _refused(response):
                return
        async with self._one_at_a_time, self._file.locked():
            self._load()
            if used is not None and self._token() == used:
                self.context.token_expiry_time = 1.0  # it was refused: refresh it, whatever the clock says
            while True:
                flow = super().async_auth_flow(request)
                try:
                    outgoing = await anext(flow)
                    while True:
                        response = yield outgoing
                        self._remember()
                        outgoing = await flow.asend(response)
                except StopAsyncIteration:
                    return
                except _NotTried as not_tried:
                    answer = yield httpx2.Request("GET", not_tried.address)
                    self._registered_before = None
                    if answer.status_code in UNKNOWN_CLIENT:
                        self.context.client_info = None
                finally:
                    await flow.aclose()
                    self._remember()

    def _token(self) -> str | None:
        tokens = self.context.current_tokens
        return tokens.access_token if tokens is not None and self.context.is_token_valid() else None

    async def _initialize(self) -> None:
        self._load()

    def _load(self) -> None:
        """Everything as it was left, or as another process left it since."""
        context, kept = self.context, self._kept.read()
        context.current_tokens = kept.get("tokens")
        context.token_expiry_time = kept.get("until")
        context.client_info = kept.get("client")
        self._registered_before = context.client_info.client_id if context.client_info is not None else None
        if registered := _called_back(context.client_info):
            self._port, context.client_metadata.redirect_uris = registered.port or self._port, [registered]
        context.oauth_metadata = kept.get("issuer") or context.oauth_metadata
        context.protected_resource_metadata = kept.get("resource") or context.protected_resource_metadata
        context.auth_server_url = kept.get("issued_by") or context.auth_server_url
        self._initialized = True

    def _remember(self) -> None:
        context = self.context
        self._kept.write(
            tokens=context.current_tokens,
            until=context.token_expiry_time,
            client=context.client_info,
            issuer=context.oauth_metadata,
            resource=context.protected_resource_metadata,
            issued_by=context.auth_server_url,
        )

    # -- the person ---------------------------------------------------------------------------------------------------

    async def _open(self, address: str) -> None:
        """Send the person to sign in.

        Raises:
            SignInFailed: the issuer does not say that it can do PKCE with S256 (MCP 2025-11-25, Authorization Code
                Protection: a client must not go on).
            _NotTried: the issuer may have forgotten the client, which a person would be told in the browser alone.
        """
        issuer = self.context.oauth_metadata
        if issuer is not None and "S256" not in (issuer.code_challenge_methods_supported or ()):
            raise SignInFailed(
                f"{issuer.issuer} does not offer PKCE with S256 (code_challenge_methods_supported), without which codes"
                " can be stolen: its operator has to turn it on"
            )
        client = self.context.client_info
        if client is not None and client.client_id == self._registered_before:
            raise _NotTried(address)
        self._brought = await self._stack.enter_async_context(listening(self._port))
        opened = self._browser and await anyio.to_thread.run_sync(webbrowser.open, address, abandon_on_cancel=True)
        self._say(f"{'the browser was opened to sign in' if opened else 'to sign in, open'}: {address}")

    async def _wait(self) -> AuthorizationCodeResult:
        async with self._stack:
            try:
                async with asyncio.timeout(SIGN_IN_S):
                    return await self._brought
            except TimeoutError as error:
                raise SignInFailed(f"nobody signed in within {SIGN_IN_S:g} s") from error


def _refused(response: httpx2.Response) -> bool:
    challenge = response.headers.get("www-authenticate", "")
    return response.status_code == 401 or (response.status_code == 403 and "insufficient_scope" in challenge)


def _called_back(client: OAuthClientInformationFull | None) -> AnyUrl | None:
    """Where a registered client is called back."""
    return client.redirect_uris[0] if client is not None and client.redirect_uris else None


MODELS: Final[dict[str, Any]] = {
    "tokens": OAuthToken,
    "client": OAuthClientInformationFull,
    "issuer": OAuthMetadata,
    "resource": ProtectedResourceMetadata,
}


class _Kept:
    """The token file's content as the SDK's models. Satisfies its `TokenStorage`, of which it uses the writing half."""

    def __init__(self, token_file: TokenFile) -> None:
        self._file = token_file
        self._last: dict[str, Any] = {}

    def read(self) -> dict[str, Any]:
        content = self._file.read()
        self._last = {key: value for key, value in content.items() if key != "server"}
        known = {"until": content.get("until"), "issued_by": content.get("issued_by")}
        for name, model in MODELS.items():
            try:
                known[name] = model.model_validate(content[name]) if content.get(name) else None
            except ValidationError:
                known[name] = None
        return known

    def write(self, **given: Any) -> None:
        dumped = {name: self._dumped(value) for name, value in given.items() if value is not None}
        if dumped != self._last:
            self._last = dumped
            self._file.write(dumped)

    @staticmethod
    def _dumped(value: Any) -> Any:
        if isinstance(value, (str, float, int)):
            return value
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def get_tokens(self) -> OAuthToken | None:
        found: OAuthToken | None = self.read()["tokens"]
        return found

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Written with all the rest, once the flow is over."""

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        found: OAuthClientInformationFull | None = self.read()["client"]
        return found

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Likewise."""
