"""The lab put together: its parts over shared state, its routes, and what its pages show."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from switchboard.common.pages.renderer import Pages
from switchboard.keys import derive
from switchboard.lab.addresses import OPEN, Address, Addresses
from switchboard.lab.application import USER_AGENT, Lab
from switchboard.lab.issuer import Issuer
from switchboard.lab.recorder import KEPT_S, Recorder
from switchboard.lab.resource import Resource, message_of
from switchboard.lab.rules import RULES, judge, verdict
from switchboard.lab.scenarios import SCENARIOS, Scenario
from switchboard.lab.tokens import Tokens
from switchboard.state import State

MOST_RUNS: Final = 1_000
"""Runs that may be made in a day."""

RUN_ID: Final = re.compile(r"[A-Za-z0-9_-]{4,64}")


class OpenLab:
    """The lab of one worker.

    Args:
        secret: `SECRET_KEY`, of which the lab's own key is made: what it signs is good for nothing else.
    """

    def __init__(self, state: State, secret: str, base_uri: str, version: str) -> None:
        key = bytes.fromhex(derive(secret, "authorization lab"))
        tokens = Tokens(key)
        self._state = state
        self._addresses = Addresses(base_uri)
        self._recorder = Recorder(state, key)
        self._resource = Resource(self._addresses, tokens)
        self._pages = Pages(Path(__file__).parent / "templates", f"Switchboard {version}")
        issuer = Issuer(self._addresses, tokens, self._once, self._allows, self._asking)
        self._lab = Lab(self._addresses, issuer, self._resource, self._recorder, self._exists)
        self._path = urlsplit(base_uri).path

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve requests."""
        return self._resource.running()

    def routes(self) -> Sequence[BaseRoute]:
        """All routes: pages, the JSON documents, and the scenarios."""
        at = f"{self._path}/lab"
        return [
            Route(at, self._overview, methods=["GET"]),
            Route(f"{at}/api/scenarios", self._scenarios, methods=["GET"]),
            Route(f"{at}/api/runs", self._begin, methods=["POST"]),
            Route(f"{at}/api/runs/{{run}}", self._run_document, methods=["GET"]),
            Route(f"{at}/run/{{run}}", self._run_page, methods=["GET"]),
            Route(f"{at}/{{rest:path}}", self._lab),
            *(
                Route(f"/.well-known/{kind}{at}/{{rest:path}}", self._lab)
                for kind in ("oauth-protected-resource", "oauth-authorization-server", "openid-configuration")
            ),
        ]

    async def _overview(self, _request: Request) -> Response:
        rows = [{**_told(each), "url": self._addresses.endpoint(OPEN, each.name)} for each in SCENARIOS]
        return self._pages.show("lab.html", rows=rows, path=self._path)

    async def _scenarios(self, _request: Request) -> Response:
        return JSONResponse([_told(each) for each in SCENARIOS])

    async def _begin(self, request: Request) -> Response:
        """Make a run: `{"auto": true}` for one whose issuers allow by themselves."""
        auto = message_of(await request.body()).get("auto") is True
        state, keys = self._state, self._state.keys
        run = secrets.token_urlsafe(9)
        with state.guard():
            made = await state.redis.incr(keys.lab_runs())
            if made == 1:
                await state.redis.expire(keys.lab_runs(), KEPT_S)
            if made > MOST_RUNS:
                return JSONResponse({"detail": f"{MOST_RUNS} runs were made within a day; wait for its end"}, 429)
            async with state.redis.pipeline(transaction=False) as pipe:
                pipe.hset(keys.lab_run(run), mapping={"made": int(time.time()), "auto": int(auto)})
                pipe.expire(keys.lab_run(run), KEPT_S)
                await pipe.execute()
        urls = {each.name: self._addresses.endpoint(run, each.name) for each in SCENARIOS}
        return JSONResponse({"run": run, "urls": urls, "page": f"{self._addresses.page(run)}"}, 201)

    async def _exists(self, run: str) -> bool:
        if run == OPEN:
            return True
        if RUN_ID.fullmatch(run) is None:
            return False
        with self._state.guard():
            return bool(await self._state.redis.exists(self._state.keys.lab_run(run)))

    async def _run_document(self, request: Request) -> Response:
        run = request.path_params["run"]
        if not await self._exists(run):
            return JSONResponse({"detail": "There is no such run; they are kept for a day"}, 404)
        return JSONResponse(await self.run(run))

    async def _run_page(self, request: Request) -> Response:
        run = request.path_params["run"]
        if not await self._exists(run):
            return self._pages.show("no_run.html", 404, path=self._path)
        return self._pages.show("run.html", run=await self.run(run), path=self._path)

    async def run(self, run: str) -> Mapping[str, Any]:
        """What became of every scenario in a run, with its hops."""
        scenarios: list[dict[str, Any]] = []
        kept = await self._recorder.hops(run, [scenario.name for scenario in SCENARIOS])
        for scenario, hops in zip(SCENARIOS, kept, strict=True):
            judged = judge(scenario.judged, hops)
            scenarios.append(
                {
                    "name": scenario.name,
                    "title": scenario.title,
                    "verdict": verdict(judged) if hops else "not_tried",
                    "rules": [{**asdict(each), "text": RULES[each.rule].text} for each in judged],
                    "hops": [{**asdict(hop), "place": hop.place.value} for hop in hops],
                }
            )
        clients = (name for each in scenarios for hop in each["hops"] if (name := _client_of(hop)))
        return {"run": run, "client": next(clients, ""), "scenarios": scenarios}

    async def _once(self, token_id: str) -> bool:
        with self._state.guard():
            return bool(await self._state.redis.set(self._state.keys.lab_used(token_id), "1", nx=True, ex=KEPT_S))

    async def _allows(self, run: str) -> bool:
        with self._state.guard():
            found: Any = await self._state.redis.hget(self._state.keys.lab_run(run), "auto")
        return bool(found == "1")

    def _asking(self, client: str, address: Address, _sent: Mapping[str, str]) -> Response:
        return self._pages.show("allow.html", client=client, scenario=address.scenario)


def _client_of(hop: Mapping[str, Any]) -> str:
    """What a client called itself when it registered, or in its headers."""
    return str(hop["answered"].get("client_name") or hop["sent"].get(USER_AGENT, ""))


def _told(scenario: Scenario) -> dict[str, Any]:
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
    }
