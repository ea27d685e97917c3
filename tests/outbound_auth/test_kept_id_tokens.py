"""What a company's identity provider said of a person opens other servers that trust it, for that person alone."""

from __future__ import annotations

import time

import pytest

from switchboard.errors import CredentialUnavailable, StateUnavailable
from switchboard.identity import Caller, Principal
from switchboard.outbound_auth.kept_id_tokens import KeptIdTokens
from switchboard.outbound_auth.token_set import ID_JAG, ID_TOKEN
from tests.outbound_auth.conftest import Worker, described
from tests.outbound_auth.provider import Provider, served

GATEWAY = "https://gateway.example"


def caller(subject: str, issuer: str = GATEWAY) -> Caller:
    return Caller(Principal(issuer, subject, "some client"))


async def test_an_id_token_of_the_sign_in_becomes_a_token_for_another_server(
    worker: Worker, provider: Provider
) -> None:
    kept = KeptIdTokens(worker.vault, GATEWAY)
    await kept.keep("alice", provider.signed(sub="a-1", aud="gateway"))
    async with served(Provider(trusts={provider.url: provider})) as theirs:
        idp, client = worker.outbound.client(described(provider)), worker.outbound.client(described(theirs))

        token, kind = await kept.token(caller("alice"), idp)
        assertion = await idp.by_exchange(token, kind, requested=ID_JAG, audience=theirs.url)

        assert kind == ID_TOKEN
        assert theirs.person((await client.by_assertion(assertion.access_token)).access_token) == "a-1"


@pytest.mark.parametrize(("subject", "issuer"), [("bob", GATEWAY), ("alice", "https://other.example")])
async def test_an_id_token_is_its_own_persons(worker: Worker, provider: Provider, subject: str, issuer: str) -> None:
    kept = KeptIdTokens(worker.vault, GATEWAY)
    await kept.keep("alice", provider.signed(sub="a-1"))
    with pytest.raises(CredentialUnavailable, match="sign in again"):
        await kept.token(caller(subject, issuer), worker.outbound.client(described(provider)))


async def test_an_id_token_is_shown_to_nobody_but_its_issuer(worker: Worker, provider: Provider) -> None:
    kept = KeptIdTokens(worker.vault, GATEWAY)
    await kept.keep("alice", provider.signed(sub="a-1"))
    async with served(Provider()) as other:
        with pytest.raises(CredentialUnavailable, match="name the same identity provider"):
            await kept.token(caller("alice"), worker.outbound.client(described(other)))


async def test_an_id_token_is_kept_until_it_ends(worker: Worker, provider: Provider) -> None:
    kept = KeptIdTokens(worker.vault, GATEWAY)
    await kept.keep("alice", provider.signed(sub="a-1", exp=int(time.time()) - 1))
    with pytest.raises(CredentialUnavailable, match="sign in again"):
        await kept.token(caller("alice"), worker.outbound.client(described(provider)))


@pytest.mark.parametrize("token", ["opaque", "a.b.c", "e30.e30.", "e30." + "A" * 40_000 + ".x"])
async def test_a_sign_in_goes_on_when_its_id_token_cannot_be_kept(worker: Worker, token: str) -> None:
    await KeptIdTokens(worker.vault, GATEWAY).keep("alice", token)
    assert await worker.vault.owners("gateway") == []


async def test_a_sign_in_goes_on_while_the_vault_is_away(
    worker: Worker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_args: object, **_options: object) -> None:
        raise StateUnavailable("Redis is away")

    monkeypatch.setattr(worker.vault.store, "write", away)
    await KeptIdTokens(worker.vault, GATEWAY).keep("alice", provider.signed(sub="a-1"))
