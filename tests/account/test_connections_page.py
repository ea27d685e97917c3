"""A person looks after their connections: seen, made, and taken back."""

from __future__ import annotations

from tests.account.conftest import House


async def test_a_person_signs_in_as_whom_mcp_clients_know_and_sees_what_can_be_connected(house: House) -> None:
    async with house.browser("alice") as alice:
        page = await alice.get("/connections")

    assert page.status_code == 200
    assert "Signed in as <bdi>alice</bdi>" in page.text
    assert "Issue &lt;tracker&gt;" in page.text
    assert page.text.count("Not connected") == 2


async def test_connecting_by_oauth_stores_the_account_of_that_person_alone(house: House) -> None:
    async with house.browser("alice") as alice:
        done = await alice.connect()
        assert "is connected" in done.text

    accounts = house.of(1).connectables.find("tracker").accounts
    tokens = await accounts.token(house.person("alice"))
    assert house.provider.person(tokens.access_token) == "alice-there"
    assert (await accounts.status(house.person("bob"))).state == "not_connected"
