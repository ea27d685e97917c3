"""The routes of people's pages and of what programs ask for a person: one table, put together from plain parts.

| path | for |
|---|---|
| `/connections`, `/connections/connect/{id}`, `/connections/connected/{id}` | the person's pages |
| `/account/callback`, `/account/sign-out` | signing in and out |
| `/oauth/callback/{id}` | the way back from a provider |
| `/api/auth/credentials`, `/api/auth/oauth/initiate/{id}`, `/api/auth/oauth/revoke/{id}` | programs |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from switchboard.account import oauth_connect, sign_in
from switchboard.account.connect_links import CONNECT_PATH, ConnectLinks
from switchboard.account.connections_page import CONNECTED_PATH, SIGN_OUT_PATH, ConnectionsPage
from switchboard.account.credentials_api import CredentialsApi
from switchboard.account.errors import Api, ByCaller, Page
from switchboard.account.issuer_client import IssuerClient
from switchboard.account.oauth_connect import OAuthConnect
from switchboard.account.personal import PersonalAccounts
from switchboard.account.records import Records
from switchboard.account.sessions import LIVES_S, AnonymousSessions, IssuedSessions
from switchboard.account.sign_in import SIGN_IN_S, IssuerSignIn, NoSignIn, SignIn
from switchboard.account.signing import Cookie, Signer
from switchboard.common.pages.renderer import Pages
from switchboard.common.quota import Quota
from switchboard.fleet import FleetLocks
from switchboard.http.middleware.bearer import Gate, digest_of
from switchboard.http.middleware.rate_limit import Counting, Permits
from switchboard.identity import Principal, TokenVerifier
from switchboard.state import State

CONNECTS_A_MINUTE: Final = 30
"""How often a person may set out for a provider; each time something is kept for ten minutes."""

INITIATE: Final = "/api/auth/oauth/initiate/{id}"

MAX_BODY: Final = 262_144
"""Bytes of a form: all the fields that a person may type at once."""


@dataclass(frozen=True)
class Issuer:
    """Who signs people in, and who verifies what they are given."""

    client: IssuerClient
    verifier: TokenVerifier


def browser_sign_in(
    issuer: Issuer | None, state: State, locks: FleetLocks, keys: Sequence[str], base_uri: str
) -> SignIn:
    """How people sign in with a browser: for these pages, and for others of this server.

    Args:
        issuer: `None` where nobody has a name (`AUTH_MODE=none`).
        keys: of SECRET_KEY, the newest first.
    """

    def cookie(name: str, lives: int) -> Cookie:
        return Cookie(name, base_uri, Signer(keys, f"{name} cookie", state.clock), lives)

    if issuer is None:
        return NoSignIn(AnonymousSessions(cookie("anonymous", LIVES_S)), base_uri)
    sessions = IssuedSessions(cookie("session", LIVES_S), Records(state), issuer.verifier, issuer.client, locks)
    return IssuerSignIn(issuer.client, sessions, cookie("sign-in", SIGN_IN_S), base_uri)


def account_routes(
    signing_in: SignIn,
    gate: Gate,
    accounts: PersonalAccounts,
    links: ConnectLinks,
    state: State,
    permits: Permits,
    quota: Quota,
    base_uri: str,
) -> list[Route]:
    """All routes, below the path of the public URL.

    Args:
        gate: of `/mcp`.
        permits, quota: in which a person's requests count, as at `/mcp`.
    """
    connects = Quota("connect", min(CONNECTS_A_MINUTE, quota.limit))

    async def counted(principal: Principal) -> None:
        await Counting(permits, quota, digest_of(principal)).spend(1)

    async def begun(principal: Principal) -> None:
        await Counting(permits, connects, digest_of(principal)).spend(1)

    pages = Pages(Path(__file__).parent / "templates", "Switchboard")
    oauth = OAuthConnect(signing_in, accounts, Records(state), begun, base_uri)
    shown = ConnectionsPage(signing_in, accounts, oauth, links, pages, base_uri)
    anonymous = isinstance(signing_in, NoSignIn)
    api = CredentialsApi(signing_in, gate, accounts, links, counted, base_uri, anonymous=anonymous)

    async def credentials(request: Request) -> Response:
        by_method = {"POST": api.store, "DELETE": api.remove}
        return await by_method.get(request.method, api.listed)(request)

    async def connecting(request: Request) -> Response:
        return await (shown.act if request.method == "POST" else shown.page)(request)

    people = (
        (sign_in.HOME, shown.overview, ["GET"]),
        (f"{CONNECT_PATH}/{{id}}", connecting, ["GET", "POST"]),
        (f"{CONNECTED_PATH}/{{id}}", shown.done, ["GET"]),
        (sign_in.CALLBACK_PATH, signing_in.finish, ["GET"]),
        (SIGN_OUT_PATH, shown.sign_out, ["POST"]),
        (f"{oauth_connect.CALLBACK_PATH}/{{id}}", oauth.callback, ["GET"]),
    )
    programs = (
        ("/api/auth/credentials", credentials, ["GET", "POST", "DELETE"]),
        ("/api/auth/oauth/revoke/{id}", api.revoke, ["POST"]),
    )
    path = urlsplit(base_uri).path
    return [
        *(Route(path + at, Page(respond, pages), methods=how, max_body_size=MAX_BODY) for at, respond, how in people),
        *(Route(path + at, Api(respond), methods=how) for at, respond, how in programs),
        Route(path + INITIATE, ByCaller(Api(api.initiate), Page(oauth.initiate, pages)), methods=["GET"]),
    ]
