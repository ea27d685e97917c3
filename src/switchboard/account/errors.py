"""What a request of a person ends with when it does not work: a page for browsers, problem details for programs."""

from __future__ import annotations

import math
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from switchboard.common.pages.renderer import Pages
from switchboard.common.problem_details import Problem
from switchboard.errors import AuthorizationUnavailable, StateUnavailable
from switchboard.http.middleware.bearer import RETRY_AFTER, Refused
from switchboard.http.middleware.rate_limit import RateLimited
from switchboard.identity import Principal

Respond = Callable[[Request], Awaitable[Response]]

Count = Callable[[Principal], Awaitable[None]]
"""Counts something that a person did; raises `RateLimited`."""

NO_STORE: Final = {"Cache-Control": "no-store"}

log = structlog.get_logger("switchboard.account")


@dataclass(eq=False)
class PageError(Exception):
    """Shown to the person: what was wrong, and what to do."""

    title: str
    message: str
    status: int = 400
    again: str = ""
    """Where a link leads that tries again: a path of this server."""


class Page:
    """An endpoint that people see: what goes wrong is a page."""

    def __init__(self, respond: Respond, pages: Pages) -> None:
        self._respond = respond
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._respond(request)
        except PageError as error:
            return self._error(error)
        except RateLimited as limited:
            response = self._error(PageError("That was too much at once", f"{limited.message}.", 429))
            response.headers.update(_after(limited))
            return response
        except (StateUnavailable, AuthorizationUnavailable) as error:
            log.warning("page.unanswered", path=request.url.path, reason=str(error))
            again = f"{request.url.path}?{request.url.query}".rstrip("?") if request.method == "GET" else ""
            return self._error(PageError(*_AWAY, again=again))
        except ClientDisconnect:
            return Response(status_code=400)
        except HTTPException as error:  # the body is larger than the route takes (413), or no form
            return self._error(PageError("That request does not work", f"{error.detail}.", error.status_code))
        except Exception:  # the last handler before the socket: a person sees no internals
            reference = secrets.token_hex(4)
            log.exception("request.failed", path=request.url.path, reference=reference)
            return self._error(PageError("Something went wrong", "The error has been noted.", 500), reference)

    def _error(self, error: PageError, reference: str = "") -> Response:
        told = {"title": error.title, "message": error.message, "again": error.again, "reference": reference}
        response = self._pages.show("error.html", error.status, **told, onward="", place="")
        if error.status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


class Api:
    """An endpoint that programs call: what goes wrong is a problem (RFC 9457)."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._respond(request)
        except Problem as problem:
            return problem.response()
        except RateLimited as limited:
            return Problem(429, limited.message, headers=_after(limited)).response()
        except Refused as refused:
            log.info("request.refused", status=refused.status, reason=refused.message)
            headers = {name.decode(): value.decode() for name, value in refused.headers}
            return Problem(refused.status, refused.message, headers=headers).response()
        except (StateUnavailable, AuthorizationUnavailable) as error:
            log.warning("request.unanswered", path=request.url.path, reason=str(error))
            retry = {"Retry-After": str(RETRY_AFTER)}
            return Problem(503, "What this needs cannot be reached now; try again soon", headers=retry).response()
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:  # as above
            log.exception("request.failed", path=request.url.path)
            return Problem(500, "Something went wrong; the error has been noted").response()


class ByCaller:
    """One path for both: a request with an access token is a program's, any other a browser's."""

    def __init__(self, program: Api, browser: Page) -> None:
        self._program = program
        self._browser = browser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = any(name == b"authorization" for name, _ in scope["headers"])
        await (self._program if token else self._browser)(scope, receive, send)


def _after(limited: RateLimited) -> dict[str, str]:
    return {} if math.isinf(limited.wait) else {"Retry-After": str(max(1, math.ceil(limited.wait)))}


_AWAY: Final = ("One moment, please", "The server cannot be reached right now. Try again.", 503)
