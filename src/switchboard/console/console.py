"""The routes of the console: its pages, what their scripts load, and what those ask of this server.

| path | for |
|---|---|
| `/admin`, `/admin/{page}` | a page; its script fills it |
| `/admin/static/{file}` | style and scripts |
| `/admin/events` | how the fleet is doing, every two seconds, as server-sent events |
| `/admin/api/…` | the REST API, for the browser's session |
| `/admin/mcp` | the MCP endpoint, for the browser's session: to try tools |
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from secure import ContentSecurityPolicy, ReferrerPolicy, Secure, XContentTypeOptions, XFrameOptions
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.account.browser import here, see
from switchboard.account.errors import Page, PageError
from switchboard.account.sessions import IssuedSessions, Session, shown_name
from switchboard.account.sign_in import SignIn
from switchboard.admin.administration import READ, WRITE
from switchboard.common.pages.renderer import Pages
from switchboard.common.problem_details import Problem
from switchboard.console.browser_gate import Admit, BrowserGate
from switchboard.http.event_stream import send_events
from switchboard.identity import ANONYMOUS, Principal, current

PATH: Final = "/admin"
PAGES: Final[Mapping[str, str]] = {
    "fleet": "Fleet",
    "servers": "Servers",
    "tools": "Tools",
    "plugins": "Plugins",
    "presets": "Presets",
    "credentials": "Credentials",
    "sessions": "Sessions",
    "tasks": "Tasks",
    "audit": "Audit",
    "configuration": "Configuration",
}
"""By the name in the path, what a page is called; each has a script `static/NAME.js`."""

ASKED_EVERY_S: Final = 2.0
"""How often the fleet is asked for whoever watches it."""

WATCHED_S: Final = 30.0
"""How long one stream of events lasts: whoever watches comes again, and is asked who they are."""

FILES: Final = Path(__file__).parent / "static"

Ask = Callable[[], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Served:
    """What the console shows and passes requests on to; given by the composition root."""

    api: ASGIApp
    """The REST API without its own way to find out who asks."""
    mcp: ASGIApp
    """The MCP endpoint, which wants a token as from any client."""
    fleet: Ask
    """All workers, as the API tells of them."""
    draining: Callable[[], bool]
    """Whether this worker is about to end."""
    allows: Callable[[Principal, str], bool]
    """Whether somebody may do what needs a scope of the API."""


def console_routes(sign_in: SignIn, served: Served, admit: Admit, base_uri: str, version: str) -> Sequence[BaseRoute]:
    """All routes, below the path of the public URL."""
    base = urlsplit(base_uri).path + PATH
    shared = Pages(Path(__file__).parent / "templates", f"Switchboard {version}")
    console = Console(sign_in, served, base, version)

    async def token(session: Session) -> str:
        sessions = sign_in.sessions
        tokens = await sessions.tokens(session.secret) if isinstance(sessions, IssuedSessions) else None
        return tokens.access_token if tokens else ""

    return [
        Route(base, Page(console.page, shared), methods=["GET"]),
        Route(f"{base}/sign-in", Page(console.sign_in, shared), methods=["GET"]),
        Route(f"{base}/static/{{file}}", Page(console.file, shared), methods=["GET"]),
        Route(f"{base}/events", BrowserGate(console.events, sign_in.sessions, base_uri, admit), methods=["GET"]),
        Mount(f"{base}/api", BrowserGate(served.api, sign_in.sessions, base_uri, admit)),
        Route(f"{base}/mcp", BrowserGate(served.mcp, sign_in.sessions, base_uri, admit, token)),
        Route(f"{base}/{{page}}", Page(console.page, shared), methods=["GET"]),
    ]


class Console:
    """The pages.

    Args:
        base: the path of the console, below which all of it is.
    """

    def __init__(self, sign_in: SignIn, served: Served, base: str, version: str) -> None:
        self._sign_in = sign_in
        self._served = served
        self._base = base
        self._version = version
        folder = Path(__file__).parent / "templates"
        self._environment = Environment(loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined)
        self._headers = _headers()

    async def page(self, request: Request) -> Response:
        """`GET /admin/{page}`."""
        name = request.path_params.get("page", "fleet")
        if name not in PAGES:
            raise PageError("There is no such page", "Choose one from the console.", 404, again=self._base)
        session = await self._sign_in.sessions.find(request)
        if session is None:
            return await self._sign_in.begin(request, here(request), (WRITE,))
        if not self._served.allows(session.principal, READ):
            raise PageError(
                "You may not look at the console",
                f"It needs the permission {READ}, or {WRITE} to change something. Ask whoever runs this server for it,"
                " or sign in again and allow it.",
                403,
                again=f"{self._base}/sign-in",
            )
        html = self._environment.get_template("console.html").render(
            base=self._base,
            home=self._base.removesuffix(PATH),
            name=name,
            pages=PAGES,
            who=shown_name(session.principal),
            csrf=session.csrf,
            may_change=self._served.allows(session.principal, WRITE),
            version=self._version,
        )
        response = HTMLResponse(html, headers={"Cache-Control": "no-store"})
        self._headers.set_headers(response)
        return response

    async def sign_in(self, request: Request) -> Response:
        """`GET /admin/sign-in`: once more, asking for the permission."""
        if self._served.allows(ANONYMOUS, WRITE):  # nobody signs in
            return see(f"{self._base}/fleet")
        return await self._sign_in.begin(request, f"{self._base}/fleet", (WRITE,))

    async def file(self, request: Request) -> Response:
        """`GET /admin/static/{file}`."""
        path = FILES / request.path_params["file"]
        if path.parent != FILES or not path.is_file():
            raise PageError("There is no such file", "It is of another version of this server.", 404)
        kind = {".css": "text/css", ".js": "text/javascript"}[path.suffix]
        headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
        return FileResponse(path, media_type=kind, headers=headers)

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /admin/events`: ends when this worker does, or the session; browsers come again, to another worker."""
        if not self._served.allows(current().principal, READ):
            await Problem(403, f"this needs the permission {READ}").response()(scope, receive, send)
            return
        await send_events(self._told(), receive, send, [])

    async def _told(self) -> AsyncGenerator[bytes]:
        clock = asyncio.get_running_loop().time
        until = clock() + WATCHED_S
        while not self._served.draining() and clock() < until:
            document = json.dumps(await self._served.fleet(), separators=(",", ":"))
            yield f"event: fleet\ndata: {document}\n\n".encode()
            await asyncio.sleep(ASKED_EVERY_S)
        yield b"retry: 200\n\n"


def _headers() -> Secure:
    own = ("'self'",)
    policy = ContentSecurityPolicy().default_src("'none'").script_src(*own).style_src(*own).connect_src(*own)
    policy = policy.img_src("data:").base_uri("'none'").form_action(*own).frame_ancestors("'none'")
    return Secure(
        csp=policy, xfo=XFrameOptions().deny(), xcto=XContentTypeOptions(), referrer=ReferrerPolicy().same_origin()
    )
