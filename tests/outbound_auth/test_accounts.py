"""A person connects, uses and ends what they allowed."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from switchboard.errors import CredentialUnavailable, NotConnected
from switchboard.outbound_auth.token_set import TokenSet
from switchboard.vault import Cipher
from tests.outbound_auth.conftest import ALICE, BOB, CALLBACK, Worker, connect, described, visit
from tests.outbound_auth.provider import Fault, Provider


async def test_a_person_who_has_connected_has_tokens_and_nobody_else_has(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    with pytest.raises(NotConnected, match="not connected to tracker"):
        await accounts.token(ALICE)

    await connect(accounts)

    tokens = await accounts.token(ALICE)
    assert provider.person(tokens.access_token) == "alice"
    assert (tokens.scopes, tokens.issuer) == (("read", "write"), provider.url)
    with pytest.raises(NotConnected):
        await accounts.token(BOB)
    assert tokens.access_token not in repr(tokens)


async def test_the_authorization_request_has_pkce_state_and_the_target(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider, resource="https://tracker.example/mcp"))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK, scopes=["admin"])

    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert asked["code_challenge_method"] == "S256"
    assert len(asked["code_challenge"]) == 43
    assert asked["state"] == kept["state"]
    assert len(kept["state"]) >= 43
    assert (asked["scope"], asked["resource"]) == ("read write admin", "https://tracker.example/mcp")
    assert kept["verifier"] not in url
    await accounts.finish(ALICE, await visit(url), kept)
    (exchange,) = provider.of("token")
    assert exchange.form["resource"] == "https://tracker.example/mcp"


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"state": "another"}, "belongs to another sign-in"),
        ({"iss": "https://evil.example"}, "do not go on"),
        ({"iss": ""}, "do not go on"),
        ({"code": ""}, "without a code"),
        ({"code": "stolen"}, "connect again"),
        ({"error": "access_denied", "error_description": "no\x1b[1m"}, "allow it"),
    ],
)
async def test_a_callback_that_is_not_the_answer_is_refused_and_nothing_is_stored(
    worker: Worker, provider: Provider, changed: dict[str, str], why: str
) -> None:
    accounts = worker.accounts(described(provider))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    params = await visit(url)

    with pytest.raises(CredentialUnavailable, match=why) as refused:
        await accounts.finish(ALICE, params | changed, kept)
    assert "\x1b" not in refused.value.reason
    assert await worker.vault.names("server:tracker", ALICE) == []


async def test_a_missing_iss_is_refused_where_the_provider_says_that_it_sends_one(
    worker: Worker, provider: Provider
) -> None:
    accounts = worker.accounts(described(provider))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    params = await visit(url)
    del params["iss"]
    with pytest.raises(CredentialUnavailable, match="names nobody as its issuer"):
        await accounts.finish(ALICE, params, kept)


async def test_a_code_is_used_once(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    params = await visit(url)
    await accounts.finish(ALICE, params, kept)
    with pytest.raises(CredentialUnavailable, match="invalid_grant"):
        await accounts.finish(ALICE, params, kept)


async def test_another_person_cannot_finish_what_somebody_began(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    with pytest.raises(CredentialUnavailable, match="Somebody else"):
        await accounts.finish(BOB, await visit(url), kept)
    assert await worker.vault.owners("server:tracker") == []


@pytest.mark.parametrize(
    ("fault", "why", "retry"),
    [
        ("html", "answered 400 .* is not JSON", True),
        ("html 200", "answered 200 .* is not JSON", True),
        ("500", "answered 500", True),
        ("503", "answered 503", True),
        ("429", "answered 429", True),
        ("empty", "is not JSON", True),
        ("list", "is not a JSON object", True),
        ("cut", "could not be reached", True),
        ("redirect", "answered 307", True),
        ("huge", "more than 1048576 bytes", False),
        ("gzip", "compressed", False),
    ],
)
async def test_a_provider_that_answers_nonsense_is_explained_and_nothing_is_stored(
    worker: Worker, provider: Provider, fault: Fault, why: str, retry: bool
) -> None:
    accounts = worker.accounts(described(provider))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    params = await visit(url)
    provider.faults["token"] = fault

    with pytest.raises(CredentialUnavailable, match=f"Tracker Inc.*{why}") as told:
        await accounts.finish(ALICE, params, kept)
    assert told.value.retry is retry
    assert await worker.vault.names("server:tracker", ALICE) == []


@pytest.mark.parametrize("fault", ["html 200", "500", "empty", "list", "cut", "huge", "gzip"])
async def test_metadata_that_cannot_be_read_is_explained(worker: Worker, provider: Provider, fault: Fault) -> None:
    provider.faults["metadata"] = fault
    with pytest.raises(CredentialUnavailable, match="How to sign in at Tracker Inc cannot be found out"):
        await worker.accounts(described(provider)).begin(ALICE, redirect_uri=CALLBACK)


async def test_metadata_of_another_issuer_is_refused(worker: Worker, provider: Provider) -> None:
    provider.metadata_issuer = "https://evil.example"
    with pytest.raises(CredentialUnavailable, match=r"names the issuer https://evil\.example"):
        await worker.accounts(described(provider)).begin(ALICE, redirect_uri=CALLBACK)


async def test_a_token_that_is_not_bearer_is_refused(worker: Worker, provider: Provider) -> None:
    provider.token_type = "DPoP"
    with pytest.raises(CredentialUnavailable, match="type DPoP"):
        await connect(worker.accounts(described(provider)))
    assert await worker.vault.owners("server:tracker") == []


async def test_less_than_was_asked_for_is_refused_and_ended_at_the_provider(worker: Worker, provider: Provider) -> None:
    provider.narrows_to = ("read",)
    with pytest.raises(CredentialUnavailable, match="write is missing"):
        await connect(worker.accounts(described(provider)))
    assert await worker.vault.owners("server:tracker") == []
    assert all(grant.revoked for grant in provider.refresh.values())


async def test_scopes_that_only_the_backends_metadata_names_may_be_left_out(worker: Worker, provider: Provider) -> None:
    provider.narrows_to = ("read",)
    accounts = worker.accounts(described(provider, scopes=("read",)))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK, scopes=["write"])
    await accounts.finish(ALICE, await visit(url), kept)
    assert (await accounts.token(ALICE)).scopes == ("read",)


async def test_an_account_that_no_key_opens_says_so_and_can_be_ended(worker: Worker, provider: Provider) -> None:
    await connect(worker.accounts(described(provider)))
    worker.vault.cipher = Cipher(["l" * 32])
    accounts = worker.accounts(described(provider))
    with pytest.raises(CredentialUnavailable, match="check VAULT_KEYS"):
        await accounts.token(ALICE)
    assert (await accounts.status(ALICE)).state == "reauthorization_needed"
    await accounts.revoke(ALICE)
    assert (await accounts.status(ALICE)).state == "not_connected"


async def test_cookies_of_a_provider_are_not_kept(worker: Worker, provider: Provider) -> None:
    provider.cookies, provider.metadata_issuer = True, "https://other.example"  # so it is asked at each place
    with pytest.raises(CredentialUnavailable):
        await worker.outbound.client(described(provider)).endpoints()
    assert len(provider.asked) > 1
    assert all("cookie" not in each.headers for each in provider.asked)


async def test_scopes_that_providers_do_not_mention_are_not_missed(worker: Worker, provider: Provider) -> None:
    provider.narrows_to = ("read",)
    accounts = worker.accounts(described(provider, scopes=("openid", "offline_access", "read")))
    await connect(accounts)
    assert (await accounts.status(ALICE)).state == "connected"


@pytest.mark.parametrize("said", [None, "soon", [], True])
async def test_a_token_without_a_usable_end_is_used_until_it_is_refused(
    worker: Worker, provider: Provider, said: object
) -> None:
    provider.expires_in = said
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    first = await accounts.token(ALICE)
    assert first.expires_at is None
    assert await accounts.token(ALICE) == first
    assert (await accounts.token(ALICE, fresher_than=first.access_token)).access_token != first.access_token


@pytest.mark.parametrize(("life", "behind", "ends"), [(0, 0.5, True), (0, 0, True), (10, 0.5, False), (10, -8, True)])
def test_a_token_that_lives_no_time_has_ended_for_a_worker_whose_clock_is_behind(
    life: float, behind: float, ends: bool
) -> None:
    assert TokenSet("t", issued_at=1000.0, expires_at=1000.0 + life).ends_soon(1000.0 - behind) is ends


async def test_what_is_revoked_is_refused_by_the_next_call_and_ended_at_the_provider(
    worker: Worker, provider: Provider
) -> None:
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    tokens = await accounts.token(ALICE)

    assert await accounts.revoke(ALICE) == ""

    with pytest.raises(NotConnected):
        await accounts.token(ALICE)
    assert provider.person(tokens.access_token) is None
    assert (await accounts.status(ALICE)).state == "not_connected"


@pytest.mark.parametrize(("fault", "said"), [("503", "answered 503"), ("html", "answered 400")])
async def test_an_account_ends_here_even_when_the_provider_cannot_be_told(
    worker: Worker, provider: Provider, fault: Fault, said: str
) -> None:
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    provider.faults["revoke"] = fault
    assert said in await accounts.revoke(ALICE)
    assert await worker.vault.owners("server:tracker") == []


async def test_what_a_person_allowed_one_server_is_sent_to_no_other_that_gets_its_name(
    worker: Worker, provider: Provider
) -> None:
    first = worker.outbound.accounts("server:tracker", "tracker", described(provider), "https://one.example")
    other = worker.outbound.accounts("server:tracker", "tracker", described(provider), "https://other.example")
    provider.expires_in = 0
    await connect(first)
    assert (await first.token(ALICE)).renewed, "which is for the same server"
    provider.expires_in = 3600
    tokens = await first.token(ALICE)
    with pytest.raises(NotConnected, match=r"was connected for https://one\.example"):
        await other.token(ALICE)
    assert (await other.status(ALICE)).state == "reauthorization_needed"

    assert await other.revoke(ALICE) == ""
    assert provider.person(tokens.access_token) is None, "it can be ended all the same"


async def test_a_provider_without_revocation_is_mentioned(worker: Worker, provider: Provider) -> None:
    provider.without = ("revocation_endpoint",)
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    assert "in your settings there, too" in await accounts.revoke(ALICE)


async def test_a_person_can_be_made_to_connect_again(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    await accounts.require_reauth(ALICE)
    assert (await accounts.status(ALICE)).state == "not_connected"
    await connect(accounts)

    await accounts.require_reauth(ALICE, "more is needed now")

    with pytest.raises(NotConnected, match="more is needed now"):
        await accounts.token(ALICE)
    status = await accounts.status(ALICE)
    assert (status.state, status.reason) == ("reauthorization_needed", "more is needed now")
    await connect(accounts)
    assert (await accounts.status(ALICE)).state == "connected"
