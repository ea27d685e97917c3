"""The lab put together: its parts over shared state, its routes, and what its pages show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from switchboard.common.pages.renderer import Pages
from switchboard.keys import derive
from switchboard.lab.addresses import OPEN, Address, Addresses
from switchboard.lab.application import Lab
from switchboard.lab.company import Company
from switchboard.lab.diagram import diagram
from switchboard.lab.front import Front
from switchboard.lab.holding import Holding
from switchboard.lab.issuer import Issuer
from switchboard.lab.recorder import KEPT_S, Recorder
from switchboard.lab.resource import Resource, message_of
from switchboard.lab.runs import MOST_RUNS, End, Runs, is_scenario
from switchboard.lab.scenarios import SCENARIOS, Scenario, telling
from switchboard.lab.signing import ChangingKeys
from switchboard.lab.tokens import Tokens
from switchboard.state import State

NO_RUN: Final = {"detail": "There is no such run; they are kept for a day"}

TOO_MANY: Final = f"{MOST_RUNS} runs were made within a day; wait for its end"
NOT_OFFERED: Final = "It needs an origin of the lab's own (LAB_ORIGIN), and this server has none."
NO_CLIENT: Final = {"detail": "There is no such client in the newest runs"}


class OpenLab:
    """The lab of one worker.

    Args:
        secret: `SECRET_KEY`, of which the lab's own key is made: what it signs is good for nothing else.
        base_uri: of this server.
        origin: the lab's own; `None` where there is none, and scenarios that need one are not offered.
        clock: Unix seconds.
        sleep: for answers that come late on purpose.
    """

    def __init__(
        self,
        state: State,
        secret: str,
        base_uri: str,
        version: str,
        origin: str | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        key = bytes.fromhex(derive(secret, "authorization lab"))
        tokens = Tokens(key, clock)
        self._state = state
        self._addresses = Addresses(base_uri, origin)
        self._base_uri = base_uri
        self._holding = Holding(state)
        recorder = Recorder(state, key)
        self._runs = Runs(state, recorder, clock)
        keys = ChangingKeys(state, key)
        self._resource = Resource(self._addresses, tokens, keys, self._once, self._is_used)
        footer, scripts = f"Switchboard {version}", {"live": "live.js"}
        self._pages = Pages(Path(__file__).parent / "templates", footer, scripts, connects=True)
        issuer = Issuer(self._addresses, tokens, keys, self._once, self._runs.allows, self._asking, sleep)
        company = Company(self._addresses, tokens, self._once, key)
        exists = self._runs.exists
        self._lab = Lab(self._addresses, issuer, company, self._resource, recorder, self._holding, exists, clock)
        self._path = urlsplit(base_uri).path

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve requests."""
        return self._resource.running()

    def in_front(self, app: ASGIApp) -> ASGIApp:
        """`app`, with what is asked of the lab's own origin led to the lab's routes."""
        return Front(app, self._addresses, self._base_uri)

    def routes(self) -> Sequence[BaseRoute]:
        """All routes: pages, the JSON documents, and the scenarios."""
        at = f"{self._path}/lab"
        return [
            Route(at, self._overview, methods=["GET"]),
            Route(f"{at}/clients", self._clients_page, methods=["GET"]),
            Route(f"{at}/runs", self._begin_by_hand, methods=["POST"]),
            Route(f"{at}/api/scenarios", self._scenarios, methods=["GET"]),
            Route(f"{at}/api/clients", self._clients_document, methods=["GET"]),
            Route(f"{at}/clients/{{client}}", self._client_page, methods=["GET"]),
            Route(f"{at}/api/clients/{{client}}", self._client_document, methods=["GET"]),
            Route(f"{at}/api/runs", self._begin, methods=["POST"]),
            Route(f"{at}/api/runs/{{run}}", self._run_document, methods=["GET"]),
            Route(f"{at}/api/runs/{{run}}/end", self._end, methods=["POST"]),
            Route(f"{at}/run/{{run}}", self._run_page, methods=["GET"]),
            Route(f"{at}/{{rest:path}}", self._lab),
            *(
                Route(f"/.well-known/{kind}{at}/{{rest:path}}", self._lab)
                for kind in ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
            ),
        ]

    async def _overview(self, _request: Request) -> Response:
        urls = self._urls(OPEN)
        rows = [{**self._told(each), "url": urls.get(each.name)} for each in SCENARIOS]
        return self._pages.show("lab.html", rows=rows, path=self._path, open_run=self._addresses.page(OPEN))

    async def _scenarios(self, _request: Request) -> Response:
        return JSONResponse([self._told(each) for each in SCENARIOS])

    async def _clients_page(self, _request: Request) -> Response:
        return self._pages.show("clients.html", clients=await self._runs.clients(), path=self._path)

    async def _clients_document(self, _request: Request) -> Response:
        return JSONResponse(await self._runs.clients())

    async def _client_page(self, request: Request) -> Response:
        client = await self._runs.client(request.path_params["client"])
        if client is None:
            return self._pages.show("no_run.html", 404, path=self._path)
        return self._pages.show("client.html", client=client, path=self._path)

    async def _client_document(self, request: Request) -> Response:
        client = await self._runs.client(request.path_params["client"])
        return JSONResponse(NO_CLIENT, 404) if client is None else JSONResponse(client)

    async def _begin_by_hand(self, _request: Request) -> Response:
        """A run for somebody at the page of scenarios, who then is asked at each sign-in; leads to its page."""
        run = await self._runs.make(auto=False)
        if run is None:
            return PlainTextResponse(f"{TOO_MANY}\n", 429)
        return RedirectResponse(self._addresses.page(run), 303)

    async def _begin(self, request: Request) -> Response:
        """Make a run: `{"auto": true}` for one whose issuers allow by themselves."""
        run = await self._runs.make(auto=message_of(await request.body()).get("auto") is True)
        if run is None:
            return JSONResponse({"detail": TOO_MANY}, 429)
        told = {each.name: telling.told(each, self._addresses.issuer(run, each.name)) for each in SCENARIOS}
        page = self._addresses.page(run)
        return JSONResponse({"run": run, "urls": self._urls(run), "told": told, "page": page}, 201)

    def _urls(self, run: str) -> Mapping[str, str]:
        """Those of the scenarios that can be tried here."""
        offered = [each.name for each in SCENARIOS if self._addresses.offers(each)]
        return {name: self._addresses.endpoint(run, name) for name in offered}

    async def _end(self, request: Request) -> Response:
        """The end of a client's attempt, as `Runs.end` takes it; answered with the verdict."""
        run, said = request.path_params["run"], message_of(await request.body())
        scenario, code, output = said.get("scenario"), said.get("exit_code", 0), said.get("output", "")
        if run == OPEN or not await self._runs.exists(run):
            return JSONResponse(NO_RUN, 404)
        if not isinstance(scenario, str) or not is_scenario(scenario):
            return JSONResponse({"detail": "`scenario` must be the name of one; /lab/api/scenarios lists them"}, 422)
        late = said.get("timed_out", False)
        if type(code) is not int or abs(code) >= 2**32 or not isinstance(output, str) or type(late) is not bool:
            detail = "`exit_code` must be an integer, `output` a text, and `timed_out` true or false"
            return JSONResponse({"detail": detail}, 422)
        await self._runs.end(run, scenario, End(code, output, late))
        await self._holding.release(run, scenario)
        became = await self._runs.scenario(run, scenario)
        return JSONResponse({name: became[name] for name in ("name", "verdict", "ended", "rules")})

    async def _run_document(self, request: Request) -> Response:
        run = request.path_params["run"]
        if not await self._runs.exists(run):
            return JSONResponse(NO_RUN, 404)
        return JSONResponse(await self._runs.document(run))

    async def _run_page(self, request: Request) -> Response:
        run = request.path_params["run"]
        if not await self._runs.exists(run):
            return self._pages.show("no_run.html", 404, path=self._path)
        document = await self._runs.document(run)
        return self._pages.show("run.html", run=document, urls=self._urls(run), path=self._path, diagram=diagram)

    async def _once(self, token_id: str) -> bool:
        with self._state.guard():
            return bool(await self._state.redis.set(self._state.keys.lab_used(token_id), "1", nx=True, ex=KEPT_S))

    async def _is_used(self, token_id: str) -> bool:
        with self._state.guard():
            return bool(await self._state.redis.exists(self._state.keys.lab_used(token_id)))

    def _asking(self, client: str, address: Address, _sent: Mapping[str, str]) -> Response:
        return self._pages.show("allow.html", client=client, scenario=address.scenario)

    def _told(self, scenario: Scenario) -> dict[str, Any]:
        return {
            "name": scenario.name,
            "title": scenario.title,
            "about": scenario.about,
            "rule": scenario.rule.text,
            "url_of_rule": scenario.rule.url,
            "right": scenario.right,
            "wrong": scenario.wrong,
            "expects": scenario.expects,
            "spec_version": scenario.spec_version,
            "own_origin": scenario.own_origin,
            "not_offered": "" if self._addresses.offers(scenario) else NOT_OFFERED,
        }
