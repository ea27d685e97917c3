"""`/api/auth/…` for programs: what a person has at backends and plugins, without ever a value in an answer.

Asked with the person's own access token, or by our own pages with the session's cookie and its CSRF token. Errors are
problem details (RFC 9457).
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from switchboard.account.browser import origin
from switchboard.account.connect_links import ConnectLinks
from switchboard.account.errors import NO_STORE, Count
from switchboard.account.personal import FieldErrors, PersonalAccounts
from switchboard.account.sign_in import SignIn
from switchboard.common import strict_json
from switchboard.common.problem_details import Problem
from switchboard.http.middleware.bearer import Gate
from switchboard.identity import IMPLIES, Principal
from switchboard.identity.scopes import missing
from switchboard.outbound_auth.connectables import Connectable

CSRF_HEADER: Final = "x-csrf-token"
NEEDED: Final = frozenset({"mcp"})
"""The scope of a token that may look after credentials: one for tools alone may not."""


class CredentialsApi:
    """The endpoints.

    Args:
        gate: verifies access tokens as at `/mcp`.
        count: counts each request of a person; raises `RateLimited` when there were too many.
        anonymous: whether there are no tokens at all (`AUTH_MODE=none`).
    """

    def __init__(
        self,
        sign_in: SignIn,
        gate: Gate,
        accounts: PersonalAccounts,
        links: ConnectLinks,
        count: Count,
        base_uri: str,
        *,
        anonymous: bool,
    ) -> None:
        self._sign_in = sign_in
        self._gate = gate
        self._accounts = accounts
        self._links = links
        self._count = count
        self._origin = origin(base_uri).lower()
        self._anonymous = anonymous

    async def listed(self, request: Request) -> Response:
        """`GET /api/auth/credentials`."""
        person = await self._person(request)
        found = [each.as_json() for each in await self._accounts.all(person)]
        return JSONResponse({"connections": found}, headers=NO_STORE)

    async def store(self, request: Request) -> Response:
        """`POST /api/auth/credentials` with `{"id": …, "values": {field: text}}`."""
        person = await self._person(request)
        said = await _document(request)
        connectable = self._connectable(said.get("id"))
        values = said.get("values")
        if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
            raise Problem(400, "`values` must be an object of texts, by field")
        if not connectable.fields:
            raise Problem(
                409, f"{connectable.id} takes nothing typed: its person connects at {self._links.page(connectable.id)}"
            )
        try:
            await self._accounts.store(person, connectable, values)
        except FieldErrors as wrong:
            errors = [{"field": name, "detail": what} for name, what in wrong.errors.items()]
            raise Problem(422, "Nothing was stored; `errors` says why, by field", errors=errors) from wrong
        return JSONResponse((await self._accounts.of(person, connectable)).as_json(), headers=NO_STORE)

    async def remove(self, request: Request) -> Response:
        """`DELETE /api/auth/credentials?id=…`: all that the person has there."""
        return await self._take_back(request, request.query_params.get("id"))

    async def revoke(self, request: Request) -> Response:
        """`POST /api/auth/oauth/revoke/{id}`."""
        return await self._take_back(request, request.path_params["id"])

    async def initiate(self, request: Request) -> Response:
        """`GET /api/auth/oauth/initiate/{id}` of a program: the address of the page at which its person connects."""
        person = await self._person(request)
        connectable = self._connectable(request.path_params["id"])
        return JSONResponse({"url": self._links.link(person, connectable.id)}, headers=NO_STORE)

    async def _take_back(self, request: Request, name: object) -> Response:
        person = await self._person(request)
        connectable = self._connectable(name)
        if left := await self._accounts.take_back(person, connectable):
            return JSONResponse({"id": connectable.id, "note": left}, headers=NO_STORE)
        return Response(status_code=204)

    async def _person(self, request: Request) -> str:
        """Who asks.

        Raises:
            Problem, Refused: nobody who may.
        """
        sent = request.headers.getlist("authorization")
        if sent or self._anonymous:
            query = request.url.query.encode()
            caller = await self._gate.admit(query, [each.encode("latin-1") for each in sent])
            principal = caller.principal
        else:
            principal = await self._signed_in(request)
        if missing(principal.scopes, NEEDED, IMPLIES):
            raise Problem(403, "The token lacks the scope `mcp`, which looking after credentials takes")
        await self._count(principal)
        return principal.person

    async def _signed_in(self, request: Request) -> Principal:
        session = await self._sign_in.sessions.find(request)
        if session is None:
            await self._gate.admit(b"", ())  # refuses with where to get a token
            raise Problem(401, "Authorization is required")
        if request.method not in ("GET", "HEAD") and not session.sent_by(request.headers.get(CSRF_HEADER, "")):
            raise Problem(403, f"With a cookie, {CSRF_HEADER} has to hold the token of this session's pages")
        if request.headers.get("origin", self._origin).lower() != self._origin:
            raise Problem(403, "With a cookie, only this server's own pages may ask")
        return session.principal

    def _connectable(self, name: object) -> Connectable:
        found = self._accounts.connectables.find(name) if isinstance(name, str) else None
        if found is None:
            known = ", ".join(each.id for each in self._accounts.connectables) or "none"
            raise Problem(404, f"`id` must be one of what people connect to here: {known}")
        return found


async def _document(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "Send JSON, as application/json")
    try:
        return strict_json.read_object(await request.body())
    except ValueError as error:
        raise Problem(400, f"The body {error}") from None
