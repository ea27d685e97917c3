"""`/api/auth/…`: what programs ask for a person, and never get a value of."""

from __future__ import annotations

import re
from typing import Any

import pytest

from switchboard.vault import RecordKey
from tests.account.conftest import Browser, House, OpenHouse

pytestmark = pytest.mark.asyncio(loop_scope="module")

API = "/api/auth/credentials"
KEY = {"id": "weather", "values": {"key": "sk-1"}}


async def alices(house: House, name: str = "key") -> Any:
    """What the vault has of hers."""
    record = await house.of(1).vault.get(RecordKey("plugin:weather", name, house.person("alice")), purpose="test")
    return record and record.value


async def csrf(browser: Browser) -> dict[str, str]:
    """The header that our own pages would send."""
    page = await browser.get("/connections")
    return {"X-CSRF-Token": re.findall(r'name="csrf" value="([^"]+)"', page.text)[0]}


async def test_what_a_person_stores_is_theirs_alone_and_in_no_answer(house: House, mcp_token: Any) -> None:
    alice = {"Authorization": f"Bearer {await mcp_token(house, 'alice')}"}
    bob = {"Authorization": f"Bearer {await mcp_token(house, 'bob')}"}
    async with house.browser() as http:
        stored = await http.send("POST", API, json=KEY, headers=alice)
        http.worker = 1
        hers = await http.send("GET", API, headers=alice)
        his = await http.send("GET", API, headers=bob)

    assert await alices(house) == {"value": "sk-1"}
    assert stored.json()["state"] == "connected"
    assert [each["state"] for each in hers.json()["connections"]] == ["not_connected", "connected"]
    assert [each["state"] for each in his.json()["connections"]] == ["not_connected", "not_connected"]
    assert "sk-1" not in stored.text + hers.text + his.text
    assert hers.headers["cache-control"] == "no-store"


async def test_what_is_wrong_is_told_by_field_and_nothing_is_stored(house: House, mcp_token: Any) -> None:
    alice = {"Authorization": f"Bearer {await mcp_token(house, 'alice')}"}
    values = {"key": "pk-secret", "site": "javascript:alert(1)", "other": "x"}
    async with house.browser() as http:
        answer = await http.send("POST", API, json={"id": "weather", "values": values}, headers=alice)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    told = {each["field"]: each["detail"] for each in answer.json()["errors"]}
    assert told["key"].startswith("does not have the form that is asked for")
    assert told["site"] == "is not a web address, of https or http"
    assert told["other"] == "is none of the fields"
    assert "pk-secret" not in answer.text
    assert await alices(house) is None


BAD: dict[str, tuple[Any, int, str]] = {
    "no JSON": (b"{", 400, "The body is not JSON"),
    "no object": (b"[]", 400, "The body is not a JSON object"),
    "no id": (b"{}", 404, "`id` must be one of what people connect to here: tracker, weather"),
    "no values": (b'{"id": "weather"}', 400, "`values` must be an object of texts"),
    "numbers": (b'{"id": "weather", "values": {"key": 7}}', 400, "`values` must be an object of texts"),
    "nothing typed": (b'{"id": "weather", "values": {}}', 422, "Nothing was stored"),
    "by OAuth": (b'{"id": "tracker", "values": {}}', 409, "tracker takes nothing typed: its person connects at http"),
    "too long": (b'{"id": "weather", "values": {"key": "' + b"s" * 9_000 + b'"}}', 422, "Nothing was stored"),
}


async def test_bad_input_is_a_problem_that_says_what_to_do(house: House, mcp_token: Any) -> None:
    headers = {"Authorization": f"Bearer {await mcp_token(house, 'alice')}", "Content-Type": "application/json"}
    found, wanted = {}, {}
    async with house.browser() as http:
        for name, (body, status, said) in BAD.items():
            answer = await http.send("POST", API, content=body, headers=headers)
            problem = answer.json()
            found[name] = (answer.status_code, problem["status"], problem["detail"][: len(said)])
            wanted[name] = (status, status, said)
        other = await http.send("POST", API, content=b"{}", headers=headers | {"Content-Type": "text/plain"})

    assert found == wanted
    assert other.status_code == 415


async def test_without_credentials_a_program_is_told_where_to_get_a_token(house: House) -> None:
    async with house.browser() as http:
        answers = [
            await http.send("GET", API),
            await http.send("POST", API, json=KEY),
            await http.send("DELETE", f"{API}?id=weather"),
            await http.send("POST", "/api/auth/oauth/revoke/tracker"),
            await http.send("GET", API, headers={"Authorization": "Bearer guessed"}),
        ]

    assert [each.status_code for each in answers] == [401] * 5
    assert {each.headers["content-type"] for each in answers} == {"application/problem+json"}
    assert all("resource_metadata=" in each.headers["www-authenticate"] for each in answers)


async def test_a_token_for_tools_alone_may_not_look_after_credentials(house: House, mcp_token: Any) -> None:
    narrow = {"Authorization": f"Bearer {await mcp_token(house, 'alice', 'mcp:tools')}"}
    async with house.browser() as http:
        answer = await http.send("POST", API, json=KEY, headers=narrow)

    assert (answer.status_code, "`mcp`" in answer.json()["detail"]) == (403, True)
    assert await alices(house) is None


async def test_our_own_pages_ask_with_the_cookie_and_nobody_elses_do(house: House) -> None:
    async with house.browser("alice") as alice:
        own = await csrf(alice)
        origin = {"Origin": house.base}
        listed = await alice.send("GET", API)
        refused = [
            await alice.send("POST", API, json=KEY),
            await alice.send("POST", API, json=KEY, headers={"X-CSRF-Token": "x" * 43}),
            await alice.send("POST", API, json=KEY, headers=own | {"Origin": "http://localhost:1"}),
            await alice.send("DELETE", f"{API}?id=weather"),
            await alice.send("POST", "/api/auth/oauth/revoke/tracker"),
        ]
        assert await alices(house) is None
        stored = await alice.send("POST", API, json=KEY, headers=own | origin)

    assert listed.status_code == 200
    assert [each.status_code for each in refused] == [403] * 5
    assert stored.status_code == 200
    assert await alices(house) == {"value": "sk-1"}


async def test_a_field_that_is_left_empty_keeps_what_it_had(house: House) -> None:
    async with house.browser("alice") as alice:
        own = await csrf(alice)
        await alice.send("POST", API, json=KEY, headers=own)
        site = {"id": "weather", "values": {"key": "", "site": "https://weather.example"}}
        answer = await alice.send("POST", API, json=site, headers=own)

    assert answer.status_code == 200
    assert [each["stored"] for each in answer.json()["fields"]] == [True, True]
    assert (await alices(house), await alices(house, "site")) == (
        {"value": "sk-1"},
        {"value": "https://weather.example"},
    )


async def test_taking_back_deletes_everything_of_that_person_and_tells_the_fleet(house: House) -> None:
    async with house.browser("alice") as alice:
        own = await csrf(alice)
        await alice.send("POST", API, json=KEY, headers=own)
        with house.of(1).notices.waiting(house.person("alice"), "weather") as event:
            answer = await alice.send("DELETE", f"{API}?id=weather", headers=own)
            await event.wait()
        again = await alice.send("DELETE", f"{API}?id=weather", headers=own)
        unknown = await alice.send("DELETE", f"{API}?id=nothing", headers=own)

    assert (answer.status_code, again.status_code, unknown.status_code) == (204, 204, 404)
    assert await alices(house) is None


async def test_revoking_an_oauth_account_ends_it_at_the_provider(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.connect()
        accounts = house.of(1).connectables.find("tracker").accounts
        tokens = await accounts.token(house.person("alice"))
        answer = await alice.send("POST", "/api/auth/oauth/revoke/tracker", headers=await csrf(alice))

    assert answer.status_code == 204
    assert house.provider.person(tokens.access_token) is None
    assert (await accounts.status(house.person("alice"))).state == "not_connected"


async def test_a_provider_that_cannot_be_told_is_said_to_the_person(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.connect()
        house.provider.faults["revoke"] = "500"
        answer = await alice.send("POST", "/api/auth/oauth/revoke/tracker", headers=await csrf(alice))

    assert answer.status_code == 200
    assert "in your settings there" in answer.json()["note"]
    assert (await house.of(0).connectables.find("tracker").accounts.status(house.person("alice"))).state == (
        "not_connected"
    )


async def test_a_program_is_given_the_page_at_which_its_person_connects(house: House, mcp_token: Any) -> None:
    token = await mcp_token(house, "alice")
    async with house.browser("alice") as alice:
        answer = await alice.send(
            "GET", "/api/auth/oauth/initiate/tracker", headers={"Authorization": f"Bearer {token}"}
        )
        page = await alice.get(answer.json()["url"])

    assert "Connect <bdi>Issue &lt;tracker&gt;</bdi>" in page.text


@pytest.mark.parametrize("limit", [120])
async def test_requests_of_a_person_count_in_the_quota_that_mcp_requests_count_in(
    open_house: OpenHouse, limit: int
) -> None:
    house = await open_house(1, auth_mode="none", rate_limit=limit)
    async with house.browser() as http:
        answers = [await http.send("GET", API) for _ in range(limit + 10)]

    assert answers[0].status_code == 200
    assert answers[-1].status_code == 429
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert int(answers[-1].headers["retry-after"]) > 0
