"""The lab's own origin: whose root it is, what is answered there, and what is not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from switchboard.errors import ConfigurationError
from switchboard.lab.holding import HELD_S, QUIET_S, Held, Holding
from switchboard.lab.scenarios import SCENARIOS
from switchboard.settings import load_settings
from switchboard.state import open_state
from tests.account.conftest import House, open_house, provider
from tests.lab.in_process import BASE, ORIGIN, Clock, opened
from tests.lab.right_client import RightClient

__all__ = ["open_house", "provider"]

SCENARIOS_THERE = {"metadata-at-root", "fallback-2025-03-26", "fallback-without-metadata", "no-registration"}
METADATA = "/.well-known/oauth-authorization-server"


async def a_run(http: httpx2.AsyncClient) -> Mapping[str, Any]:
    """A run that allows by itself."""
    begun: Mapping[str, Any] = (await http.post("/lab/api/runs", json={"auto": True})).json()
    return begun


async def kept(http: httpx2.AsyncClient, run: str, name: str) -> list[tuple[str, str, int]]:
    """Method, path and status of what is kept of a scenario."""
    document = (await http.get(f"/lab/api/runs/{run}")).json()
    (found,) = [each for each in document["scenarios"] if each["name"] == name]
    return [(hop["method"], hop["path"], hop["status"]) for hop in found["hops"]]


async def test_the_root_is_that_of_the_scenario_whose_endpoint_was_asked_until_that_has_ended() -> None:
    async with opened(Clock()) as http:
        before = await http.get(f"{ORIGIN}{METADATA}")
        first, second = await a_run(http), await a_run(http)
        began = await http.post(first["urls"]["fallback-2025-03-26"], json={})
        found = await http.get(f"{ORIGIN}{METADATA}")
        other = await http.post(second["urls"]["fallback-2025-03-26"], json={})
        same_run = await http.post(first["urls"]["metadata-at-root"], json={})
        await http.post(f"/lab/api/runs/{first['run']}/end", json={"scenario": "fallback-2025-03-26"})
        ended = await http.get(f"{ORIGIN}{METADATA}")
        now = await http.post(second["urls"]["metadata-at-root"], json={})
        theirs = await http.get(f"{ORIGIN}/.well-known/oauth-protected-resource")
        of_first = await kept(http, first["run"], "fallback-2025-03-26")
        of_second = await kept(http, second["run"], "fallback-2025-03-26")

    assert [each.status_code for each in (before, began, found, other, ended, now)] == [404, 401, 200, 409, 404, 401]
    assert "no scenario has it now" in before.text
    assert found.json()["issuer"] == ORIGIN
    assert f"fallback-2025-03-26 of the run {first['run']} has" in other.text
    assert 0 < int(other.headers["retry-after"]) <= HELD_S
    assert same_run.status_code == 409
    assert theirs.json()["resource"] == ORIGIN
    assert of_first == [("POST", urlsplit(first["urls"]["fallback-2025-03-26"]).path, 401), ("GET", METADATA, 200)]
    assert of_second == []


async def test_another_scenario_of_the_same_run_has_it_once_it_was_quiet_and_another_run_once_it_is_over() -> None:
    async with open_state(None) as state:
        holding = Holding(state)
        free = await holding.hold("run1", "one")
        busy = await holding.hold("run1", "two")
        await state.redis.pexpire(state.keys.lab_origin(), (HELD_S - QUIET_S) * 1000)
        foreign = await holding.hold("run2", "one")
        moved = await holding.hold("run1", "two")
        await holding.release("run1", "one")
        still = await holding.used()
        lifetime = await state.redis.pttl(state.keys.lab_origin())
        await holding.release("run1", "two")
        nobody = await holding.used()

    assert free is None
    assert busy == Held("run1", "one", HELD_S)
    assert foreign == Held("run1", "one", HELD_S - QUIET_S)
    assert moved is None
    assert still == ("run1", "two")
    assert lifetime > (HELD_S - QUIET_S) * 1000
    assert nobody is None


async def test_what_was_given_out_at_the_root_is_worthless_in_another_run_that_has_the_root() -> None:
    async with opened(Clock()) as http:
        first, second = await a_run(http), await a_run(http)
        urls = [each["urls"]["fallback-without-metadata"] for each in (first, second)]
        back = "http://127.0.0.1/back"
        await http.post(urls[0], json={})
        client = (await http.post(f"{ORIGIN}/register", json={"redirect_uris": [back]})).json()["client_id"]
        asked = {"client_id": client, "redirect_uri": back, "code_challenge_method": "S256"}
        known = await http.get(f"{ORIGIN}/authorize", params=asked)
        await http.post(f"/lab/api/runs/{first['run']}/end", json={"scenario": "fallback-without-metadata"})
        await http.post(urls[1], json={})
        strange = await http.get(f"{ORIGIN}/authorize", params=asked)

    assert known.status_code == 303
    assert strange.status_code == 400


@pytest.mark.parametrize("name", sorted(SCENARIOS_THERE))
async def test_a_scenario_of_the_root_is_at_the_lab_s_own_origin_alone_and_no_other_is_there(name: str) -> None:
    async with opened(Clock()) as http:
        begun = await a_run(http)
        path = urlsplit(begun["urls"][name]).path
        at_host = await http.post(f"{BASE}{path}", json={})
        metadata = await http.get(f"{BASE}/.well-known/oauth-protected-resource{path}")
        plain = await http.post(f"{ORIGIN}{urlsplit(begun['urls']['plain']).path}", json={})
        unknown = await http.post(f"{ORIGIN}/lab/run/never-made/{name}/mcp", json={})

    assert {each.name for each in SCENARIOS if each.own_origin} == SCENARIOS_THERE
    assert begun["urls"][name].startswith(f"{ORIGIN}/lab/run/")
    assert (at_host.status_code, metadata.status_code, unknown.status_code) == (404, 404, 404)
    assert f'resource_metadata="{BASE}/' in plain.headers["www-authenticate"]  # as by any name of the server


async def test_a_client_that_registers_at_the_host_is_seen() -> None:
    async with opened(Clock()) as http:
        begun = await a_run(http)
        await http.post(begun["urls"]["no-registration"], json={})
        refused = await http.post(f"{ORIGIN}/register", json={"redirect_uris": ["http://127.0.0.1/back"]})
        await http.post(f"/lab/api/runs/{begun['run']}/end", json={"scenario": "no-registration"})
        document = (await http.get(f"/lab/api/runs/{begun['run']}")).json()

    (found,) = [each for each in document["scenarios"] if each["name"] == "no-registration"]
    assert refused.status_code == 404
    assert (found["verdict"], found["rules"][0]["hop"]) == ("failed", 2)


async def test_without_an_origin_of_its_own_they_are_not_offered_and_it_is_said_why() -> None:
    async with opened(Clock(), origin=None) as http:
        begun = await a_run(http)
        rows = {each["name"]: each for each in (await http.get("/lab/api/scenarios")).json()}
        page = (await http.get("/lab")).text
        of_run = await http.get(f"/lab/run/{begun['run']}")
        answer = await http.post(f"/lab/run/{begun['run']}/no-registration/mcp", json={})

    assert {name for name, row in rows.items() if row["not_offered"]} == SCENARIOS_THERE
    assert rows.keys() - begun["urls"].keys() == SCENARIOS_THERE
    assert page.count("Not offered here. It needs an origin of the lab") == len(SCENARIOS_THERE)
    assert of_run.status_code == 200
    assert answer.status_code == 404


@pytest.mark.parametrize("method", ["OPTIONS", "GET"])
async def test_a_preflight_for_a_header_of_its_own_is_refused_in_discovery_cors_alone(method: str) -> None:
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-other, MCP-Protocol-Version"}
    async with opened(Clock()) as http:
        begun = await a_run(http)
        where = f"/.well-known/oauth-protected-resource{urlsplit(begun['urls']['discovery-cors']).path}"
        answer = await http.request(method, where, headers={"Origin": "https://page.test", **asks})
        hops = await kept(http, begun["run"], "discovery-cors")

    assert answer.status_code == (403 if method == "OPTIONS" else 200)
    assert "access-control-allow-origin" not in answer.headers
    assert hops == [(method, where, answer.status_code)]


# -- As workers serve it.


def through(house: House) -> httpx2.AsyncClient:
    """A client of all names of a house, each of whose requests goes to the next worker."""
    ports = itertools.cycle(worker.port for worker in house.workers)

    async def routed(request: httpx2.Request) -> None:
        request.headers.setdefault("Host", request.url.netloc.decode())
        request.url = request.url.copy_with(host="127.0.0.1", port=next(ports))

    return httpx2.AsyncClient(base_url=house.base, timeout=60, trust_env=False, event_hooks={"request": [routed]})


def origin_of(house: House) -> str:
    """The lab's own."""
    return f"http://127.0.0.1:{urlsplit(house.base).port}"


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["", "/below"])
async def test_workers_take_turns_at_the_root_of_the_other_loopback_name_which_no_list_of_hosts_has(
    open_house: Any, path: str
) -> None:
    house = await open_house(2, path, lab="on", allowed_hosts=("localhost",))
    async with through(house) as http:
        begun = (await http.post(f"{house.base}/lab/api/runs", json={"auto": True})).json()
        for name in ("metadata-at-root", "fallback-2025-03-26", "fallback-without-metadata"):
            url = begun["urls"][name]
            assert url.startswith(f"{origin_of(house)}/lab/run/")
            client = RightClient(http, url, lambda _: None, lambda: 0.0)
            assert await client.run() == ""
            end = {"scenario": name, "exit_code": 0}
            became = (await http.post(f"{house.base}/lab/api/runs/{begun['run']}/end", json=end)).json()
            assert became["verdict"] == "passed", became
            ours = await http.post(
                f"{house.base}/mcp", json={}, headers={"Authorization": f"Bearer {client.token}", "Accept": "*/*"}
            )
            assert ours.status_code == 401


@pytest.mark.asyncio(loop_scope="module")
async def test_the_lab_answers_at_its_own_origin_and_the_authorization_server_at_its_own(open_house: Any) -> None:
    house = await open_house(1, lab="on", allowed_hosts=("localhost",))
    theirs, paths = origin_of(house), ("/authorize", "/token", "/register", METADATA)
    async with through(house) as http:
        ours = {path: (await http.get(f"{house.base}{path}")).text for path in paths}
        idle = {path: await http.get(f"{theirs}{path}") for path in paths}
        begun = (await http.post(f"{house.base}/lab/api/runs", json={"auto": True})).json()
        await http.post(begun["urls"]["fallback-without-metadata"], json={})
        held = {path: (await http.get(f"{house.base}{path}")).text for path in paths}
        body = {"redirect_uris": ["http://127.0.0.1/back"]}
        from_page = {"Origin": "https://page.test"}
        client = (await http.post(f"{theirs}/register", json=body, headers=from_page)).json()["client_id"]
        asked = {"client_id": client, "redirect_uri": body["redirect_uris"][0], "response_type": "code"}
        let_in = await http.get(f"{theirs}/authorize", params=asked)
        others = [await http.get(f"{theirs}{path}") for path in ("/mcp", "/console", "/lab", "/revoke", "/authorize/")]
        probe = await http.get(f"{theirs}/readyz")

    assert f'"issuer":"{house.base}"' in ours[METADATA].replace(" ", "")
    assert {path: each.status_code for path, each in idle.items()} == dict.fromkeys(paths, 404)
    assert all("no scenario has it now" in each.text for each in idle.values())
    assert held[METADATA] == ours[METADATA]
    assert let_in.status_code == 303
    assert [each.status_code for each in others] == [421] * len(others)
    assert probe.status_code == 200


@pytest.mark.asyncio(loop_scope="module")
async def test_it_is_the_host_that_a_trusted_proxy_was_asked_for(open_house: Any) -> None:
    house = await open_house(
        1, lab="on", lab_origin="https://lab.test", allow_public_lab=True, trusted_proxies="127.0.0.1"
    )
    async with through(house) as http:
        begun = (await http.post(f"{house.base}/lab/api/runs", json={"auto": True})).json()
        url = begun["urls"]["fallback-2025-03-26"]
        forwarded = {"X-Forwarded-Proto": "https"}
        own = urlsplit(house.base).netloc

        async def asked(host: str, path: str, **headers: str) -> int:
            found = await http.post(f"{house.base}{path}", json={}, headers={"Host": host, **forwarded, **headers})
            return found.status_code

        path = urlsplit(url).path
        statuses = [
            await asked("lab.test", path),
            await asked("lab.test:443", path),
            await asked("lab.test:80", path),
            await asked("worker.internal", path, **{"X-Forwarded-Host": "lab.test"}),
            await asked("lab.test", path, **{"X-Forwarded-Host": own}),
        ]

    assert url.startswith("https://lab.test/lab/run/")
    assert statuses == [401, 401, 421, 401, 404]


@pytest.mark.asyncio(loop_scope="module")
async def test_a_page_is_told_that_a_preflight_is_refused_and_may_read_the_document_without_it(open_house: Any) -> None:
    house = await open_house(1, lab="on")
    page = {"Origin": "https://page.test"}
    asks = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "mcp-protocol-version"}
    async with through(house) as http:
        where = "/.well-known/oauth-protected-resource/lab/{}/mcp"
        refused = await http.options(f"{house.base}{where.format('discovery-cors')}", headers={**page, **asks})
        allowed = await http.options(f"{house.base}{where.format('plain')}", headers={**page, **asks})
        read = await http.get(f"{house.base}{where.format('discovery-cors')}", headers=page)

    assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (204, "https://page.test")
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, "https://page.test")


# -- The setting.


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ({}, "http://127.0.0.1:3232"),
        ({"base_uri": "http://127.0.0.1:8000"}, "http://localhost:8000"),
        ({"base_uri": "http://localhost/below"}, "http://127.0.0.1"),
        ({"base_uri": "http://localhost:1", "host": "::1"}, "http://[::1]:1"),
        ({"base_uri": "http://mcp.localhost:1"}, None),
        ({"base_uri": "http://localhost:1", "lab_origin": "http://lab.localhost:1/"}, "http://lab.localhost:1"),
        (
            {"base_uri": "http://localhost:1", "auth_mode": "separate", "auth_server_url": "http://127.0.0.1:1/auth"},
            None,
        ),
    ],
)
def test_its_origin_is_the_other_name_of_loopback_unless_one_is_set(given: Any, origin: str | None) -> None:
    assert load_settings(None, lab="on", **given).own_origin_of_lab == origin


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lab_origin": "http://localhost:3232"}, "is the origin of BASE_URI or AUTH_SERVER_URL"),
        ({"lab_origin": "http://lab.localhost/below"}, "has a path"),
        ({"lab_origin": "https://lab.example.com"}, "LAB_ORIGIN=https://lab.example.com is public"),
        (
            {"lab_origin": "http://127.0.0.1:1", "auth_mode": "separate", "auth_server_url": "http://127.0.0.1:1"},
            "is the origin of BASE_URI or AUTH_SERVER_URL",
        ),
    ],
)
def test_an_origin_that_is_not_the_lab_s_alone_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_settings(None, lab="on", **given)
