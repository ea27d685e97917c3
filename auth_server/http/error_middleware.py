"""Wraps every endpoint: errors become answers, never stack traces; API answers can be read across origins."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from auth_server.clients.redirect_uris import display
from auth_server.errors import PageRefusal, Refusal
from auth_server.pages.sign_in_errors import noted
from switchboard.common.pages.renderer import Pages
from switchboard.errors import AuthorizationUnavailable, StateUnavailable

Respond = Callable[[Request], Awaitable[Response]]

RETRY_AFTER = "2"
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "WWW-Authenticate, Retry-After"}
"""Any origin may call the API: it carries no cookies, and browser clients run anywhere."""

PREFLIGHT = {
    **CORS,
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, MCP-Protocol-Version",
    "Access-Control-Max-Age": "3600",
}

log = structlog.get_logger("auth_server")


class Api:
    """An endpoint that programs call: JSON errors, and CORS."""

    def __init__(self, respond: Respond) -> None:
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = Response(status_code=204, headers=PREFLIGHT)
        if request.method != "OPTIONS":
            response = await self._answer(request)
            response.headers.update(CORS)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            _refuse_doubled_credentials(request)
            return await self._respond(request)
        except Refusal as refusal:
            return JSONResponse(refusal.body(), refusal.status, headers={**NO_STORE, **refusal.headers})
        except (StateUnavailable, AuthorizationUnavailable) as error:
            log.warning("request.unanswered", path=request.url.path, reason=str(error))
            body = {"error": "temporarily_unavailable", "error_description": "try again in a moment"}
            return JSONResponse(body, 503, headers={**NO_STORE, "Retry-After": RETRY_AFTER})
        except ClientDisconnect:
            return Response(status_code=400)
        except HTTPException as error:  # the body is larger than the route takes (413)
            body = {"error": "invalid_request", "error_description": error.detail}
            return JSONResponse(body, error.status_code, headers=NO_STORE)
        except Exception:  # the last handler before the socket: the client sees no internals
            log.exception("request.failed", path=request.url.path)
            body = {"error": "server_error", "error_description": "something went wrong on this server"}
            return JSONResponse(body, 500, headers=NO_STORE)


def _refuse_doubled_credentials(request: Request) -> None:
    """A proxy in between may have gone by the other header."""
    if len(request.headers.getlist("authorization")) > 1:
        raise Refusal("invalid_request", "a request has one Authorization header at most")


class Page:
    """An endpoint that people see: errors are pages."""

    def __init__(self, respond: Respond, pages: Pages) -> None:
        self._respond = respond
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await (await self._answer(request))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            return await self._respond(request)
        except PageRefusal as refusal:
            return self._error(
                refusal.title, refusal.message, refusal.status, refusal.onward, refusal.again, refusal.reference
            )
        except Refusal as refusal:
            return self._refused(refusal)
        except (StateUnavailable, AuthorizationUnavailable) as error:
            reference = noted("page.unanswered", str(error), path=request.url.path)
            query = f"?{request.url.query}" if request.url.query else ""
            again = f"{request.url.path}{query}" if request.method == "GET" else ""
            message = "The server cannot be reached right now. Try again."
            return self._error("One moment, please", message, 503, again=again, reference=reference)
        except ClientDisconnect:
            return Response(status_code=400)
        except HTTPException as error:  # as above
            return self._error("That request does not work", f"It was refused: {error.detail}.", error.status_code)
        except Exception:  # as above: a person sees no internals either
            reference = secrets.token_hex(4)
            log.exception("request.failed", path=request.url.path, reference=reference)
            return self._error("Something went wrong", "The error has been noted. Try again.", 500, reference=reference)

    def _refused(self, refusal: Refusal) -> Response:
        # Neither its status nor its challenge: a 401 would make the browser ask for a password.
        status = refusal.status if refusal.status == 429 else 400
        response = self._error("That request does not work", f"It was refused: {refusal.description}.", status)
        if "Retry-After" in refusal.headers:
            response.headers["Retry-After"] = refusal.headers["Retry-After"]
        return response

    def _error(
        self, title: str, message: str, status: int, onward: str = "", again: str = "", reference: str = ""
    ) -> Response:
        shown = {"title": title, "message": message, "onward": onward, "place": display(onward) if onward else ""}
        response = self._pages.show("error.html", status, **shown, again=again, reference=reference)
        if status == 503:
            response.headers["Retry-After"] = RETRY_AFTER
        return response
