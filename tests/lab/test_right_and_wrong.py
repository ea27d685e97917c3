"""Each scenario passes a client that does right, and fails one that does the wrong thing that it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import pytest

from switchboard.lab import runs
from switchboard.lab.recorder import MOST_HOPS
from switchboard.lab.rules.sending import GIVEN_CLIENT
from switchboard.lab.scenarios import SCENARIOS
from tests.lab.in_process import Clock, opened
from tests.lab.right_client import RightClient

WRONG: Mapping[str, str] = {
    "plain": "token in query",
    "metadata-at-path": "challenge only",
    "metadata-elsewhere": "well-known only",
    "metadata-at-root": "path only",
    "metadata-redirected": "follows nothing",
    "oauth-metadata-only": "openid only",
    "openid-inserted-only": "first only",
    "openid-appended-only": "first only",
    "fallback-2025-03-26": "keeps the path",
    "fallback-without-metadata": "keeps the path",
    "discovery-cors": "no second try",
    "unknown-members": "refuses unknown members",
    "resource-with-slash": "own resource",
    "scope-of-challenge": "asks for all",
    "scope-of-metadata": "asks for nothing",
    "two-issuers": "mixes issuers",
    "issuer-moves": "keeps its id",
    "no-s256": "takes any pkce",
    "plain-pkce-only": "takes any pkce",
    "wrong-resource": "takes any resource",
    "wrong-issuer": "takes any issuer",
    "no-registration": "registers anywhere",
    "given-client": "another id",
    "client-document": "registers anywhere",
    "native-only": "no application type",
    "secret-in-header": "other auth",
    "secret-in-form": "other auth",
    "private-key": "other auth",
    "machine": "other auth",
    "enterprise-managed": "other audience",
    "wrong-iss": "takes any iss",
    "missing-iss": "takes any iss",
    "iss-not-advertised": "wants iss",
    "unannounced-iss": "takes any iss",
    "wrong-state": "takes any state",
    "missing-state": "takes any state",
    "denied": "no end",
    "token-500": "no end",
    "token-page": "no end",
    "token-429": "in a hurry",
    "token-slow": "no patience",
    "no-scope-said": "wants scope",
    "lower-case-type": "wants Bearer",
    "opaque-token": "reads tokens",
    "resource-refused": "no end",
    "identifier-audience": "reads tokens",
    "no-audience": "reads tokens",
    "scope-list": "reads tokens",
    "audience-needed": "no end",
    "short-token": "asks the person",
    "rotating-refresh": "old refresh token",
    "refresh-refused": "only refreshes",
    "no-refresh": "gives up",
    "revoked": "gives up",
    "revoked-in-stream": "gives up",
    "keys-rotated": "keeps keys",
    "never-good": "no end",
    "step-up": "gives up",
    "step-up-list": "same scopes",
    "step-up-adds": "loses scopes",
    "step-up-twice": "loses scopes",
    "step-up-never": "no end",
    "forbidden": "no end",
}
"""Scenario → what the wrong client does there."""

PAUSES = {"short-token": 25.0, "rotating-refresh": 6.0, "refresh-refused": 6.0, "no-refresh": 6.0}
"""Seconds between its calls."""


GIVE_UP = {"step-up-never", "forbidden"}
"""Where a right client calls some tools, and then gives up."""


async def tried(name: str, fault: str = "") -> dict[str, Any]:
    """What a client came to in a scenario, with why it stopped."""
    clock = Clock()
    clock.patient = fault != "no patience"
    async with opened(clock) as http:
        begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
        given = GIVEN_CLIENT if name in ("given-client", "enterprise-managed", "machine") else ""
        page = name == "discovery-cors"
        url = begun["urls"][name]
        client = RightClient(http, url, clock.wait, clock, fault=fault, given=given, in_browser=page)
        try:
            stopped = await client.run(PAUSES.get(name, 0.0))
        except httpx2.ReadTimeout as gone:
            stopped = str(gone)
        ended = await http.post(f"/lab/api/runs/{begun['run']}/end", json={"scenario": name, "exit_code": 0})
        assert ended.status_code == 200
        run = (await http.get(f"/lab/api/runs/{begun['run']}")).json()
        shown = await http.get(f"/lab/run/{begun['run']}")
    assert shown.status_code == 200
    (found,) = [each for each in run["scenarios"] if each["name"] == name]
    return {**found, "stopped": stopped}


def test_every_scenario_has_a_wrong_client() -> None:
    assert WRONG.keys() == {scenario.name for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_a_right_client_passes(scenario: Any) -> None:
    found = await tried(scenario.name)

    states = {rule["rule"]: (rule["state"], rule["why"]) for rule in found["rules"]}
    assert found["verdict"] == "passed", (found["stopped"], states)
    assert bool(found["stopped"]) == (scenario.expects == "refuses" or scenario.name in GIVE_UP)
    assert {state for state, _ in states.values()} <= {"met"} or scenario.expects == "refuses"


@pytest.mark.parametrize(("name", "fault"), WRONG.items())
async def test_a_wrong_client_fails_by_the_rule_that_the_scenario_is_about(name: str, fault: str) -> None:
    found = await tried(name, fault)

    broken = [rule["rule"] for rule in found["rules"] if rule["state"] == "broken"]
    (scenario,) = [each for each in SCENARIOS if each.name == name]
    assert found["verdict"] == "failed", (found["stopped"], found["rules"])
    assert broken[0] == scenario.judged[0] or name == "plain"


@pytest.mark.parametrize(
    ("name", "fault", "rule"),
    [
        ("plain", "stops with the code", "calls-tools"),
        ("native-only", "as web", "application-type"),
        ("private-key", "assertion for the resource", "key-of-its-own"),
        ("fallback-2025-03-26", "plain pkce", "pkce"),
        ("fallback-without-metadata", "plain pkce", "pkce"),
        ("metadata-at-root", "own resource", ""),
        ("metadata-at-root", "no resource", "resource"),
        ("discovery-cors", "no resource", "resource"),
    ],
)
async def test_other_wrong_clients_fail_by_the_rule_that_they_break(name: str, fault: str, rule: str) -> None:
    found = await tried(name, fault)
    broken = [each["rule"] for each in found["rules"] if each["state"] == "broken"]
    assert broken[:1] == ([rule] if rule else [])
    assert found["verdict"] == ("failed" if rule else "passed")


@pytest.mark.parametrize("name", ["fallback-2025-03-26", "fallback-without-metadata"])
async def test_a_client_that_does_not_know_the_fallbacks_of_an_older_revision_has_not_tried_them(name: str) -> None:
    assert (await tried(name, "no fallback"))["verdict"] == "not_tried"


@pytest.mark.parametrize(("name", "fault"), [("enterprise-managed", "asks the person"), ("machine", "asks the person")])
async def test_a_client_that_does_not_know_an_extension_has_not_tried_it(name: str, fault: str) -> None:
    found = await tried(name, fault)
    assert (found["verdict"], found["rules"][0]["state"]) == ("not_tried", "not_seen")


async def test_a_client_that_asks_the_person_after_the_company_fails() -> None:
    assert (await tried("enterprise-managed", "asks both"))["rules"][0]["state"] == "broken"


async def test_the_first_requests_of_a_client_without_end_are_kept() -> None:
    async with opened(Clock()) as http:
        begun = (await http.post("/lab/api/runs")).json()
        for number in range(MOST_HOPS + 5):
            await http.post(begun["urls"]["plain"], params={"number": number})
        run = (await http.get(f"/lab/api/runs/{begun['run']}")).json()
    (found,) = [each for each in run["scenarios"] if each["name"] == "plain"]
    assert [hop["sent"]["number"] for hop in found["hops"]] == [str(number) for number in range(MOST_HOPS)]


@pytest.mark.parametrize("fault", ["plain pkce", "no resource", "token in query"])
async def test_what_holds_everywhere_is_judged_where_nothing_else_is_wrong(fault: str) -> None:
    assert (await tried("plain", fault))["verdict"] == "failed"


async def test_a_refusal_is_open_until_the_client_has_ended_and_one_that_was_killed_has_crashed() -> None:
    clock = Clock()
    async with opened(clock) as http:
        begun = (await http.post("/lab/api/runs", json={"auto": True})).json()

        async def verdict() -> str:
            run = (await http.get(f"/lab/api/runs/{begun['run']}")).json()
            (found,) = [each for each in run["scenarios"] if each["name"] == "wrong-state"]
            return str(found["verdict"])

        await RightClient(http, begun["urls"]["wrong-state"], clock.wait, clock).run()
        at_once = await verdict()
        clock.wait(61)
        later = await verdict()
        await http.post(f"/lab/api/runs/{begun['run']}/end", json={"scenario": "wrong-state", "exit_code": -9})
        killed = await verdict()

    assert (at_once, later, killed) == ("not_tried", "passed", "crashed")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"scenario": "nothing"}, 422),
        ({"scenario": "plain", "exit_code": "0"}, 422),
        ({"scenario": "plain", "exit_code": True}, 422),
        ({"scenario": "plain", "output": 3}, 422),
        ({"scenario": "plain", "timed_out": 1}, 422),
        ({}, 422),
    ],
)
async def test_an_end_that_names_no_scenario_or_no_code_is_refused(body: Any, status: int) -> None:
    async with opened(Clock()) as http:
        begun = (await http.post("/lab/api/runs")).json()
        assert (await http.post(f"/lab/api/runs/{begun['run']}/end", json=body)).status_code == status
        assert (await http.post("/lab/api/runs/open/end", json={"scenario": "plain"})).status_code == 404


async def test_what_each_client_did_last_is_told_with_the_rule_that_it_broke() -> None:
    clock = Clock()
    async with opened(clock) as http:
        for fault in ("takes any state", ""):
            begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
            await RightClient(http, begun["urls"]["wrong-state"], clock.wait, clock, fault=fault).run()
            clock.wait(61)
            (client,) = (await http.get("/lab/api/clients")).json()
            (row,) = [each for each in client["scenarios"] if each["name"] == "wrong-state"]
            page = (await http.get("/lab/clients")).text
            assert (client["client"], row["run"]) == ("right client", begun["run"])
            assert (row["verdict"], "redeemed, though" in page) == (("failed", True) if fault else ("passed", False))


async def test_the_page_of_clients_reads_so_many_requests_at_most_of_the_newest_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "MOST_READ", 5)
    clock = Clock()
    async with opened(clock) as http:
        for requests in (4, 4):
            begun = (await http.post("/lab/api/runs")).json()
            for _ in range(requests):
                await http.post(begun["urls"]["plain"], json={}, headers={"User-Agent": begun["run"]})
        (client,) = (await http.get("/lab/api/clients")).json()

    assert client["client"] == begun["run"]
