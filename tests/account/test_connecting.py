"""Connecting by OAuth: bound to the person and the browser that it began for, whichever worker they come back to."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from switchboard.account.connect_links import ConnectLinks
from tests.account.conftest import Browser, House, OpenHouse
from tests.outbound_auth.provider import Endpoint, Fault

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def state_of(house: House, subject: str) -> str:
    """How somebody stands at the tracker."""
    status = await house.of(0).connectables.find("tracker").accounts.status(house.person(subject))
    return str(status.state)


async def left(browser: Browser, where: str = "/connections/connect/tracker") -> str:
    """Where the provider sends the browser back to, which does not go there yet."""
    page = await browser.get(where)
    answer = await browser.submit(page, decision="connect")
    back = await browser.get(answer.headers["location"], until="/oauth/callback/tracker")
    return str(back.headers["location"])


async def test_the_link_of_a_call_leads_its_person_through_sign_in_to_the_provider_and_back(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get(house.link("alice"))
        assert "Connect <bdi>Issue &lt;tracker&gt;</bdi>" in page.text
        answer = await alice.submit(page, decision="connect")
        done = await alice.get(answer.headers["location"])

    assert "If a call was waiting for this, it goes on by itself" in done.text
    assert await state_of(house, "alice") == "connected"


async def test_a_wrong_person_at_the_link_is_refused_and_nothing_is_bound(house: House) -> None:
    async with house.browser("mallory") as mallory:
        page = await mallory.get(house.link("alice"))

    assert page.status_code == 403
    assert "This link is for somebody else" in page.text
    assert 'value="connect"' not in page.text
    assert house.provider.asked == []
    assert await state_of(house, "mallory") == await state_of(house, "alice") == "not_connected"


async def test_a_link_that_is_over_changed_or_for_something_else_is_refused(house: House) -> None:
    now = house.workers[0].app.rooms.state.clock()
    keys = house.workers[0].app._settings.key_ring
    over = ConnectLinks(keys, house.base, lambda: now - 901).link(house.person("alice"), "tracker")
    good = house.link("alice")
    other = good.replace("/connect/tracker", "/connect/weather")
    foreign = ConnectLinks(["another key, of another fleet, also long"], house.base, lambda: now)
    async with house.browser("alice") as alice:
        for link in (over, good[:-1] + ("A" if good[-1] != "A" else "B"), other, foreign.link("[]", "tracker")):
            page = await alice.get(link)
            assert page.status_code == 400
            assert "This link is over" in page.text


async def test_a_worker_killed_in_the_middle_does_not_stop_it(open_house: OpenHouse) -> None:
    house = await open_house()
    async with house.browser("alice") as alice:
        back = await left(alice, house.link("alice"))
        house.workers[0].server.should_exit = True
        alice.worker = 1
        done = await alice.get(back)

    assert "is connected" in done.text
    assert (await house.of(1).connectables.find("tracker").accounts.status(house.person("alice"))).state == "connected"


async def test_a_state_brings_nobody_else_and_nobody_twice_anything(house: House) -> None:
    async with house.browser("alice") as alice, house.browser("mallory") as mallory, house.browser("alice") as second:
        back = await left(alice)
        await mallory.get("/connections")
        foreign = await mallory.send("GET", back)
        await second.get("/connections")
        elsewhere = await second.send("GET", back)
        assert (foreign.status_code, elsewhere.status_code) == (403, 403)
        assert "Nothing was connected" in foreign.text
        assert house.provider.count("authorization_code") == 0

        assert (await alice.send("GET", back)).status_code == 303
        replayed = await alice.send("GET", back)

    assert replayed.status_code == 400
    assert "This way to connect is over" in replayed.text
    assert house.provider.count("authorization_code") == 1
    assert await state_of(house, "mallory") == "not_connected"


async def test_who_was_signed_out_meanwhile_connects_nothing(house: House) -> None:
    async with house.browser("alice") as alice:
        back = await left(alice)
        alice.http.cookies.clear()
        page = await alice.send("GET", back)

    assert page.status_code == 403
    assert await state_of(house, "alice") == "not_connected"


async def test_an_answer_that_names_another_issuer_is_refused(house: House) -> None:
    house.provider.issuer_said = "https://evil.example"
    async with house.browser("alice") as alice:
        page = await alice.get(await left(alice))

    assert page.status_code == 400
    assert "Nothing was connected" in page.text
    assert await state_of(house, "alice") == "not_connected"


async def test_a_person_who_says_no_at_the_provider_can_try_again(house: House) -> None:
    house.provider.refuses = "access_denied"
    async with house.browser("alice") as alice:
        page = await alice.get(await left(alice))
        assert page.status_code == 400
        assert 'href="/connections/connect/tracker"' in page.text
        house.provider.refuses = ""
        assert "is connected" in (await alice.connect()).text


@pytest.mark.parametrize("endpoint", ["metadata", "token"])
@pytest.mark.parametrize("fault", ["html", "500", "empty", "huge"])
async def test_a_provider_in_trouble_is_a_page_that_says_so_and_stores_nothing(
    house: House, endpoint: Endpoint, fault: Fault
) -> None:
    house.provider.faults[endpoint] = fault
    async with house.browser("alice") as alice:
        page = await alice.get("/connections/connect/tracker")
        answer = await alice.submit(page, decision="connect")
        if endpoint == "token":
            answer = await alice.get(answer.headers["location"])
        still = await alice.get("/connections")

    assert answer.status_code in (400, 503)
    assert "is not connected" in answer.text
    assert "Try again" in answer.text
    assert still.status_code == 200
    assert await house.of(0).vault.names("server:tracker", house.person("alice")) == []


async def test_connecting_tells_every_worker_so_that_a_waiting_call_goes_on(house: House) -> None:
    person = house.person("alice")
    with house.of(1).notices.waiting(person, "tracker") as event:
        async with house.browser("alice") as alice:
            await alice.connect()

        await event.wait()


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none", None])
async def test_another_sites_link_asks_the_person_first(house: House, site: str | None) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        headers = {"Sec-Fetch-Site": site} if site else {}
        answer = await alice.send("GET", "/api/auth/oauth/initiate/tracker", headers=headers)

    assert answer.status_code == 303
    assert answer.headers["location"] == f"{house.base}/connections/connect/tracker"


async def test_our_own_pages_link_leads_to_the_provider_at_once(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.get("/connections")
        own = {"Sec-Fetch-Site": "same-origin"}
        answer = await alice.send("GET", "/api/auth/oauth/initiate/tracker", headers=own)

    assert urlsplit(answer.headers["location"]).netloc == urlsplit(house.provider.url).netloc


@pytest.mark.parametrize("change", [{"csrf": ""}, {"csrf": "x" * 43}, None])
@pytest.mark.parametrize("decision", ["connect", "store", "disconnect"])
async def test_a_forged_form_does_nothing(house: House, change: dict[str, str] | None, decision: str) -> None:
    async with house.browser("alice") as alice:
        await alice.connect()
        page = await alice.get("/connections/connect/tracker")
        origin = {"Origin": "https://evil.example"} if change is None else {}
        answer = await alice.submit(page, origin, decision=decision, **(change or {}))

    assert answer.status_code == 403
    assert await state_of(house, "alice") == "connected"


async def test_a_form_of_one_persons_page_does_nothing_for_another(house: House) -> None:
    async with house.browser("alice") as alice, house.browser("bob") as bob:
        hers = await alice.get("/connections/connect/tracker")
        await bob.get("/connections")
        answer = await bob.submit(hers, decision="connect")

    assert answer.status_code == 403


async def test_disconnecting_ends_it_here_and_at_the_provider(house: House) -> None:
    async with house.browser("alice") as alice:
        await alice.connect()
        tokens = await house.of(0).connectables.find("tracker").accounts.token(house.person("alice"))
        page = await alice.get("/connections")
        assert "Connected" in page.text
        (token,) = set(re.findall(r'name="csrf" value="([^"]+)"', page.text))
        done = await alice.send("POST", "/connections/connect/tracker", data={"csrf": token, "decision": "disconnect"})

    assert "is disconnected" in done.text
    assert await state_of(house, "alice") == "not_connected"
    assert house.provider.person(tokens.access_token) is None


async def test_setting_out_again_and_again_is_refused_before_much_is_kept(
    open_house: OpenHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.account.routes.CONNECTS_A_MINUTE", 3)  # one more every 20 s, however slow this is
    house = await open_house(1, auth_mode="none", rate_limit=6000)
    async with house.browser() as person:
        page = await person.get("/connections/connect/tracker")
        answers = [await person.submit(page, decision="connect") for _ in range(20)]

    statuses = [each.status_code for each in answers]
    assert statuses[:3] == [303] * 3
    assert statuses.count(429) >= 10
    assert int(next(each for each in answers if each.status_code == 429).headers["retry-after"]) > 0
    redis = house.workers[0].app.rooms.state.redis
    assert len([key async for key in redis.scan_iter("account:connect:*")]) == statuses.count(303)


async def test_what_is_unknown_is_a_page_that_leads_back(house: House) -> None:
    async with house.browser("alice") as alice:
        for path in ("/connections/connect/nothing", "/oauth/callback/weather?state=x", "/oauth/callback/nothing"):
            page = await alice.send("GET", path)
            assert page.status_code == 404
            assert 'href="/connections"' in page.text
