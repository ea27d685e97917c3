"""Tokens are renewed once for the fleet, and what a provider has answered is not lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pytest

from switchboard.errors import CredentialUnavailable, NotConnected, StateUnavailable
from switchboard.outbound_auth.outbound import Outbound
from switchboard.vault import Record, RecordKey
from tests.outbound_auth.conftest import ALICE, BOB, StartWorker, Worker, connect, described
from tests.outbound_auth.provider import Asked, Client, Fault, Provider

KEY = RecordKey("server:tracker", "oauth", ALICE)


class Gate:
    """Holds refresh requests at the provider, before it has done anything."""

    def __init__(self, provider: Provider) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        provider.before = self._hold

    async def _hold(self, asked: Asked) -> None:
        if asked.form.get("grant_type") == "refresh_token":
            self.reached.set()
            await self.go.wait()


async def test_fifty_calls_on_three_workers_with_an_expired_token_make_one_refresh_request(
    start_worker: StartWorker, provider: Provider
) -> None:
    fleet = [(await start_worker()).accounts(described(provider)) for _ in range(3)]
    provider.expires_in = 0
    await connect(fleet[0])
    provider.expires_in, gate = 3600, Gate(provider)

    calls = [asyncio.ensure_future(fleet[number % 3].token(ALICE)) for number in range(50)]
    await gate.reached.wait()
    gate.go.set()
    tokens = await asyncio.gather(*calls)

    assert provider.count("refresh_token") == 1
    assert len({each.access_token for each in tokens}) == 1
    assert provider.person(tokens[0].access_token) == "alice"


async def test_fifty_calls_whose_token_was_refused_make_one_refresh_request(
    start_worker: StartWorker, provider: Provider
) -> None:
    fleet = [(await start_worker()).accounts(described(provider)) for _ in range(3)]
    await connect(fleet[0])
    old = (await fleet[0].token(ALICE)).access_token

    tokens = await asyncio.gather(*(fleet[number % 3].token(ALICE, fresher_than=old) for number in range(50)))

    assert provider.count("refresh_token") == 1
    assert {each.access_token for each in tokens} == {(await fleet[1].token(ALICE)).access_token}


async def test_people_do_not_wait_for_each_other(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    gate = Gate(provider)
    alice = asyncio.ensure_future(accounts.token(ALICE))
    await gate.reached.wait()
    provider.before, provider.expires_in, provider.signed_in = None, 3600, "bob"
    await connect(accounts, BOB)
    assert provider.person((await accounts.token(BOB)).access_token) == "bob"
    gate.go.set()
    assert provider.person((await alice).access_token) == "alice"


async def test_a_caller_who_leaves_does_not_stop_the_renewal(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.expires_in, gate = 3600, Gate(provider)
    first = asyncio.ensure_future(accounts.token(ALICE))
    await gate.reached.wait()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(accounts.token(ALICE))
    gate.go.set()
    assert provider.person((await second).access_token) == "alice"
    assert provider.count("refresh_token") == 1


async def test_a_provider_that_does_not_rotate_keeps_its_refresh_token(worker: Worker, provider: Provider) -> None:
    provider.rotates, provider.expires_in = False, 0
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    before = await worker.vault.get(KEY, purpose="test")
    await accounts.token(ALICE)
    after = await worker.vault.get(KEY, purpose="test")
    assert before is not None
    assert after is not None
    assert after.value["refresh_token"] == before.value["refresh_token"]
    assert after.value["access_token"] != before.value["access_token"]


@pytest.mark.parametrize("code", ["invalid_grant", "interaction_required"])
async def test_a_person_who_took_it_back_is_asked_to_connect_and_the_provider_is_not_asked_again(
    worker: Worker, provider: Provider, code: str
) -> None:
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    token = (await accounts.token(ALICE)).access_token
    provider.refuses = code

    with pytest.raises(NotConnected, match="connect again") as told:
        await accounts.token(ALICE, fresher_than=token)
    assert (told.value.person, told.value.name) == (ALICE, "tracker")
    for _ in range(3):
        with pytest.raises(NotConnected, match=code):
            await accounts.token(ALICE)
    assert provider.count("refresh_token") == 1
    assert (await accounts.status(ALICE)).state == "reauthorization_needed"


async def test_an_expired_token_without_a_refresh_token_asks_the_person(worker: Worker, provider: Provider) -> None:
    provider.refreshes, provider.expires_in = False, 0
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    assert (await accounts.status(ALICE)).state == "expired"
    with pytest.raises(NotConnected, match="does not renew it"):
        await accounts.token(ALICE)


@pytest.mark.parametrize("fault", ["html", "html 200", "500", "503", "empty", "cut", "redirect"])
async def test_a_provider_in_trouble_costs_nobody_their_account(
    worker: Worker, provider: Provider, fault: Fault
) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.faults["token"] = fault
    with pytest.raises(CredentialUnavailable, match="renew what you allowed") as told:
        await accounts.token(ALICE)
    assert told.value.retry
    assert not isinstance(told.value, NotConnected)

    del provider.faults["token"]
    provider.expires_in = 3600
    assert provider.person((await accounts.token(ALICE)).access_token) == "alice"


async def test_a_provider_that_does_not_answer_is_left_alone_for_a_moment(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.faults["token"] = "503"
    for _ in range(5):
        with pytest.raises(CredentialUnavailable, match="answered 503"):
            await accounts.token(ALICE)
    with pytest.raises(CredentialUnavailable, match="did not answer lately"):
        await accounts.token(ALICE)
    assert provider.count("refresh_token") == 5


async def test_a_wrong_client_secret_is_the_operators_matter(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.clients["gateway"] = Client("another")
    with pytest.raises(CredentialUnavailable, match="the operator of this gateway has to check client_id") as told:
        await accounts.token(ALICE)
    assert not isinstance(told.value, NotConnected)
    assert (await accounts.status(ALICE)).state == "connected"


async def test_a_token_that_was_just_renewed_and_is_refused_is_not_renewed_again(
    worker: Worker, provider: Provider
) -> None:
    accounts = worker.accounts(described(provider))
    await connect(accounts)
    first = await accounts.token(ALICE)
    second = await accounts.token(ALICE, fresher_than=first.access_token)
    with pytest.raises(CredentialUnavailable, match="check audience and scopes"):
        await accounts.token(ALICE, fresher_than=second.access_token)
    assert provider.count("refresh_token") == 1


async def test_an_account_that_ends_while_it_is_renewed_stays_ended(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    gate = Gate(provider)
    call = asyncio.ensure_future(accounts.token(ALICE))
    await gate.reached.wait()
    provider.faults["revoke"] = "503"  # so that the renewal is not refused
    await accounts.revoke(ALICE)
    del provider.faults["revoke"]
    gate.go.set()

    with pytest.raises(NotConnected):
        await call
    assert await worker.vault.owners("server:tracker") == []
    assert all(grant.revoked for grant in provider.refresh.values()), "what came of it was ended, too"


async def test_tokens_that_are_renewed_at_the_moment_of_the_end_are_ended_at_the_provider(
    worker: Worker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    get = worker.vault.get

    async def renewed_after(key: RecordKey, *, purpose: str, who: str | None = None) -> Record | None:
        record = await get(key, purpose=purpose, who=who)
        if purpose == "revoke an account":
            monkeypatch.setattr(worker.vault, "get", get)
            await accounts.token(ALICE)
        return record

    monkeypatch.setattr(worker.vault, "get", renewed_after)
    assert await accounts.revoke(ALICE) == ""
    assert provider.count("refresh_token") == 1
    assert await worker.vault.owners("server:tracker") == []
    assert all(grant.revoked for grant in provider.refresh.values())


async def test_whoever_connects_again_while_tokens_are_renewed_has_the_newer_ones(
    worker: Worker, provider: Provider
) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.expires_in, gate = 3600, Gate(provider)
    call = asyncio.ensure_future(accounts.token(ALICE))
    await gate.reached.wait()
    await connect(accounts)
    newer = await accounts.token(ALICE)
    gate.go.set()
    assert await call == newer
    assert await accounts.token(ALICE) == newer


async def test_what_the_provider_answered_is_stored_when_the_vault_is_back(
    worker: Worker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.expires_in = 3600
    write, refused = worker.vault.store.write, 0

    async def away_twice(*args: Any, **options: Any) -> None:
        nonlocal refused
        refused += 1
        if refused < 3:
            raise StateUnavailable("Redis is away")
        await write(*args, **options)

    monkeypatch.setattr(worker.vault.store, "write", away_twice)
    token = await accounts.token(ALICE)
    stored = await worker.vault.get(KEY, purpose="test")
    assert stored is not None
    assert stored.value["access_token"] == token.access_token
    assert provider.count("refresh_token") == 1


async def test_a_worker_that_ends_finishes_its_renewal(start_worker: StartWorker, provider: Provider) -> None:
    staying, leaving = await start_worker(), await start_worker()
    provider.expires_in = 0
    await connect(staying.accounts(described(provider)))
    provider.expires_in, gate = 3600, Gate(provider)
    ended = asyncio.Event()

    async def live() -> None:
        async with Outbound(leaving.state, leaving.vault, "w2").running() as outbound:
            accounts = outbound.accounts("server:tracker", "tracker", described(provider))
            call = asyncio.ensure_future(accounts.token(ALICE))
            await gate.reached.wait()
            call.cancel()
        ended.set()

    life = asyncio.ensure_future(live())
    await gate.reached.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert not ended.is_set()
    gate.go.set()
    await life
    provider.before = None
    assert provider.person((await staying.accounts(described(provider)).token(ALICE)).access_token) == "alice"
    assert provider.count("refresh_token") == 1


async def test_a_worker_that_is_killed_while_it_renews_does_not_block_the_others_for_long(
    start_worker: StartWorker, provider: Provider, redis_url: str
) -> None:
    worker = await start_worker(lease_s=0.6)
    accounts = worker.accounts(described(provider))
    provider.expires_in = 0
    await connect(accounts)
    provider.expires_in, gate = 3600, Gate(provider)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.outbound_auth.child", redis_url, provider.url, ALICE
    )
    await gate.reached.wait()
    os.kill(child.pid, signal.SIGKILL)
    await child.wait()
    provider.before = None

    assert provider.person((await accounts.token(ALICE)).access_token) == "alice"
    gate.go.set()
