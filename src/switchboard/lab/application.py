"""The lab as an ASGI application: finds what a request is about, has it served, and records what happened."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from switchboard.lab.addresses import ROOT, Address, Addresses
from switchboard.lab.answers import Unusable
from switchboard.lab.clients import client_in
from switchboard.lab.company import Company
from switchboard.lab.front import ASKED, refuses_preflight
from switchboard.lab.holding import Held, Holding
from switchboard.lab.hops import Hop, Place
from switchboard.lab.issuer import Issuer
from switchboard.lab.recorder import MOST_TEXT, Recorder
from switchboard.lab.resource import MAX_BODY, Resource, message_of, tool_of

USER_AGENT: Final = "user-agent"
RESUMES: Final = "last-event-id"
CLIENT: Final = "client"
"""The member with a client's `clientInfo`."""

NO_SCENARIO: Final = (
    "There is no such scenario or run; /lab lists the scenarios and where they are, POST /lab/api/runs makes a run.\n"
)
NOT_HELD: Final = (
    "This is the root of the lab's own origin, and no scenario has it now: one has it from the first request to its MCP"
    " endpoint, and until two minutes after its last.\n"
)


class Lab:
    """Serves everything below the lab's addresses.

    Args:
        addresses, issuer, company, resource, recorder, holding: its parts.
        exists: whether there is such a run.
    """

    def __init__(
        self,
        addresses: Addresses,
        issuer: Issuer,
        company: Company,
        resource: Resource,
        recorder: Recorder,
        holding: Holding,
        exists: Callable[[str], Awaitable[bool]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = addresses
        self._issuer = issuer
        self._company = company
        self._resource = resource
        self._recorder = recorder
        self._holding = holding
        self._exists = exists
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = await self._found(scope)
        if isinstance(address, Response):
            await address(scope, receive, send)
            return
        request = Request(scope, receive)
        body = await _body(request)
        if body is None:
            await PlainTextResponse(f"The body has more than {MAX_BODY} bytes.\n", 413)(scope, receive, send)
            return
        began, arrived = time.perf_counter(), self._clock()
        sent = _sent(address.place, request, body)
        named = {USER_AGENT: request.headers[USER_AGENT]} if USER_AGENT in request.headers else {}
        try:
            answer = await self._answer(address, request, sent, body)
        except Unusable as error:
            answer = error.answer()
        heard = _Heard(send)
        if answer is not None:
            await answer(scope, receive, heard)
        else:
            await self._resource.served(scope, _again(body), heard)
        seconds = time.perf_counter() - began
        shown = self._recorder.shown({**sent, **named}), self._recorder.shown(heard.said())
        await self._recorder.keep(
            address.run,
            address.scenario.name,
            Hop(
                0,
                address.place,
                heard.status,
                *shown,
                round(seconds, 4),
                request.method,
                arrived,
                address.party,
                scope.get(ASKED, scope["path"])[:MOST_TEXT],
            ),
        )

    async def _found(self, scope: Scope) -> Address | Response:
        """What a request is about, or the answer to one that is about nothing, or comes while another has the origin.

        Not kept: no client is at fault there.
        """
        if ASKED in scope:
            return await self._found_at_origin(scope[ASKED])
        address = self._addresses.find(scope["path"])
        return address if address is not None and await self._exists(address.run) else _no_scenario()

    async def _found_at_origin(self, path: str) -> Address | Response:
        if path in ROOT:
            held = await self._holding.used()
            return PlainTextResponse(NOT_HELD, 404) if held is None else self._addresses.at_root(path, *held)
        address = self._addresses.find_at_origin(path)
        if address is None or not await self._exists(address.run):
            return _no_scenario()
        other = await self._holding.hold(address.run, address.scenario.name) if address.place is Place.MCP else None
        return address if other is None else _held_by(other)

    async def _answer(
        self, address: Address, request: Request, sent: Mapping[str, str], body: bytes
    ) -> Response | None:
        """What the lab itself answers; `None` for what its MCP server does.

        Raises:
            Unusable: a request of a browser that leads back nowhere.
        """
        if not address.exists:
            return JSONResponse({"error": "not_found"}, 404)
        if request.method == "OPTIONS" and refuses_preflight(address):
            return PlainTextResponse("No page may send that header here.\n", 403)
        match address.place:
            case Place.RESOURCE_METADATA:
                return self._resource.metadata(address)
            case Place.ISSUER_METADATA:
                return await self._issuer.metadata(address)
            case Place.REGISTER:
                return self._issuer.register(address, message_of(body))
            case Place.AUTHORIZE:
                decided = dict(parse_qsl(body.decode("latin-1"))).get("decision", "")
                return await self._issuer.authorize(address, sent, decided=decided)
            case Place.TOKENS:
                return await self._issuer.token(address, sent)
            case Place.COMPANY:
                return await self._company.answer(address, sent)
            case Place.MCP:
                given = request.headers.getlist("authorization")
                refused = await self._resource.refusal(address, given, body)
                return refused or self._resource.unserved(address, request.method, request.headers, body)


def _no_scenario() -> Response:
    return PlainTextResponse(NO_SCENARIO, 404)


def _held_by(other: Held) -> Response:
    text = (
        f"The scenario {other.scenario} of the run {other.run} has the lab's own origin, for {other.seconds} s yet"
        " unless it is used; POST /lab/api/runs/ID/end ends it before. One scenario has it at a time.\n"
    )
    return PlainTextResponse(text, 409, headers={"Retry-After": str(other.seconds)})


async def _body(request: Request) -> bytes | None:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)


def _sent(place: Place, request: Request, body: bytes) -> dict[str, str]:
    """The parameters of a request, as the rules look at them."""
    query = dict(parse_qsl(request.url.query, keep_blank_values=True))
    if place is Place.MCP:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        message = message_of(body)
        found = {"method": str(message.get("method", request.method)), **_client_info(message)}
        called = {"tool": tool} if (tool := tool_of(message)) else {}
        resumes = {RESUMES: request.headers[RESUMES]} if RESUMES in request.headers else {}
        return {**query, **found, **called, **resumes, **({"token": token} if kind.lower() == "bearer" else {})}
    if place is Place.REGISTER:
        return {name: str(value) for name, value in _flat(message_of(body)).items()}
    if place is Place.TOKENS or (place is Place.COMPANY and request.method == "POST"):
        return client_in(dict(parse_qsl(body.decode("latin-1"), keep_blank_values=True)), request.headers)
    return query


def _flat(document: Mapping[str, Any]) -> dict[str, Any]:
    """The members of a JSON document that are no documents themselves; lists as words."""
    return {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in document.items()
        if isinstance(value, str | int | list)
    }


def _client_info(message: Mapping[str, Any]) -> dict[str, str]:
    """What the client calls itself, in `initialize` or in every request's `_meta` (2026-07-28)."""
    params = message.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    for holder, name in ((params, "clientInfo"), (meta, "io.modelcontextprotocol/clientInfo")):
        info = holder.get(name) if isinstance(holder, dict) else None
        if isinstance(info, dict) and isinstance(info.get("name"), str):
            return {CLIENT: f"{info['name']} {info.get('version', '')}".strip()}
    return {}


def _again(body: bytes) -> Receive:
    """The body once more, for who did not read it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


class _Heard:
    """Passes an answer on, and remembers of it what is recorded."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self._headers: dict[str, str] = {}
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        elif len(self._body) < MAX_BODY:
            self._body += message.get("body", b"")
        await self._send(message)

    def said(self) -> dict[str, Any]:
        """Members of a JSON answer, parameters of a challenge."""
        found = _flat(message_of(self._body))
        for part in self._headers.get("www-authenticate", "").removeprefix("Bearer ").split(", "):
            name, _, value = part.partition("=")
            found |= {name: value.strip('"')} if value else {}
        if "retry-after" in self._headers:
            found["retry-after"] = self._headers["retry-after"]
        if "location" in self._headers:  # taken apart, so that a code in it stands as a fingerprint, too
            onward, _, query = self._headers["location"].partition("?")
            found |= {"location": onward, **dict(parse_qsl(query, keep_blank_values=True))}
        return found
