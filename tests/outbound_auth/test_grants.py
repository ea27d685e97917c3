"""Tokens without a person: client credentials, token exchange, ID-JAG; and how the client proves who it is."""

from __future__ import annotations

import json
import time
import warnings
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OKPKey, RSAKey

from switchboard.errors import ConfigurationError, CredentialUnavailable
from switchboard.identity import Caller, Principal
from switchboard.outbound_auth.credentials import NO_CREDENTIALS
from switchboard.outbound_auth.strategies.exchanged import Exchanged
from switchboard.outbound_auth.token_set import ACCESS_TOKEN, ID_JAG, ID_TOKEN, TokenSet
from tests.outbound_auth.conftest import Worker, described
from tests.outbound_auth.provider import Client, Provider, served

ODD = "s:e cr€t&=+%/"


@pytest.mark.parametrize("way", ["client_secret_basic", "client_secret_post"])
async def test_a_secret_is_sent_as_configured_whatever_characters_it_has(
    worker: Worker, provider: Provider, way: str
) -> None:
    provider.clients["gate way"] = Client(ODD)
    client = worker.outbound.client(described(provider, client_id="gate way", client_secret=ODD, client_auth=way))
    tokens = await client.by_client_credentials()
    (asked,) = provider.of("token")
    assert ("authorization" in asked.headers) is (way == "client_secret_basic")
    assert (asked.form.get("client_secret") == ODD) is (way == "client_secret_post")
    assert asked.form["scope"] == "read write"
    assert provider.person(tokens.access_token) == "gate way"


@pytest.mark.parametrize(
    ("said", "ways"),
    [
        (["client_secret_post"], ["post"]),
        (["client_secret_basic", "client_secret_post"], ["basic"]),
        (None, ["basic", "post", "post"]),
    ],
)
async def test_a_secret_is_sent_as_the_provider_says_and_once_the_other_way_where_it_says_nothing(
    worker: Worker, provider: Provider, said: list[str] | None, ways: list[str]
) -> None:
    provider.extra = {"token_endpoint_auth_methods_supported": said}
    provider.basic = said is not None
    client = worker.outbound.client(described(provider))
    await client.by_client_credentials()
    if len(ways) > 1:
        await client.by_client_credentials()
    assert ["basic" if "authorization" in each.headers else "post" for each in provider.of("token")] == ways


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSAKey.generate_key(2048), "RS256"),
        (ECKey.generate_key("P-256"), "ES256"),
        (ECKey.generate_key("P-384", {"kid": "mine"}), "ES384"),
        (OKPKey.generate_key("Ed25519"), "EdDSA"),
    ],
)
@pytest.mark.parametrize("form", ["pem", "jwk"])
async def test_a_client_with_a_key_proves_who_it_is_by_a_new_signature_each_time(
    worker: Worker, provider: Provider, key: Any, algorithm: str, form: str
) -> None:
    provider.clients["gateway"] = Client(keys=(key.as_dict(private=False),))
    text = key.as_pem(private=True).decode() if form == "pem" else json.dumps(key.as_dict(private=True))
    client = worker.outbound.client(described(provider, client_secret="", client_key=text))
    for _ in range(2):
        assert provider.person((await client.by_client_credentials()).access_token) == "gateway"

    warnings.simplefilter("ignore", SecurityWarning)
    sent = [jwt.decode(each.form["client_assertion"], key, algorithms=[algorithm]) for each in provider.of("token")]
    assert [each.header["alg"] for each in sent] == [algorithm, algorithm]
    assert sent[0].claims["jti"] != sent[1].claims["jti"]
    assert sent[0].claims["aud"] == f"{provider.url}/token"
    assert 0 < sent[0].claims["exp"] - time.time() <= 61
    assert {each.form["client_id"] for each in provider.of("token")} == {"gateway"}


@pytest.mark.parametrize("text", ["nonsense", "{}", ECKey.generate_key("P-256").as_pem(private=False).decode()])
async def test_a_key_that_cannot_sign_is_refused_by_name(worker: Worker, provider: Provider, text: str) -> None:
    with pytest.raises(ConfigurationError, match="Tracker Inc: client_key must hold a private key") as refused:
        worker.outbound.client(described(provider, client_secret="", client_key=text))
    assert text not in str(refused.value)


async def test_a_key_signs_by_the_name_and_the_algorithm_that_the_operator_gives(
    worker: Worker, provider: Provider
) -> None:
    key = RSAKey.generate_key(2048)
    provider.clients["gateway"] = Client(keys=(key.as_dict(private=False),))
    said = {"client_key_id": "key-7", "client_key_algorithm": "PS256"}
    pem = key.as_pem(private=True).decode()
    await worker.outbound.client(described(provider, client_secret="", client_key=pem, **said)).by_client_credentials()
    header = jwt.decode(provider.of("token")[0].form["client_assertion"], key, algorithms=["PS256"]).header
    assert (header["kid"], header["alg"]) == ("key-7", "PS256")


async def test_a_token_is_exchanged_for_a_narrower_one_of_the_same_person(worker: Worker, provider: Provider) -> None:
    client = worker.outbound.client(described(provider, scopes=("read",), audience="tracker"))
    subject = provider.signed(sub="alice", aud="gateway")
    tokens = await client.by_exchange(subject, ID_TOKEN)
    grant = provider.grant(tokens.access_token)
    assert grant is not None
    assert (grant.subject, grant.scopes, grant.audience) == ("alice", ("read",), ("tracker",))
    (asked,) = provider.of("token")
    assert (asked.form["subject_token_type"], asked.form["requested_token_type"]) == (ID_TOKEN, ACCESS_TOKEN)


async def test_an_identity_assertion_of_the_companys_provider_opens_the_backends(
    worker: Worker, provider: Provider
) -> None:
    async with served(Provider()) as theirs:
        theirs.trusts = {provider.url: provider}
        idp, client = worker.outbound.client(described(provider)), worker.outbound.client(described(theirs))
        subject = provider.signed(sub="alice", aud="gateway")

        assertion = await idp.by_exchange(
            subject, ID_TOKEN, scopes=("read",), requested=ID_JAG, audience=theirs.url, resource=f"{theirs.url}/mcp"
        )
        tokens = await client.by_assertion(assertion.access_token, ("read",))

        grant = theirs.grant(tokens.access_token)
        assert grant is not None
        assert (grant.subject, grant.scopes, grant.audience) == ("alice", ("read",), (f"{theirs.url}/mcp",))
        assert provider.grant(tokens.access_token) is None
        with pytest.raises(CredentialUnavailable, match="Tracker Inc refused to accept an assertion"):
            await client.by_assertion(provider.signed(sub="alice", aud="https://other.example"))


async def test_an_access_token_of_the_companys_provider_is_shown_to_no_other_as_an_assertion(
    worker: Worker, provider: Provider
) -> None:
    provider.asserts = False
    idp = worker.outbound.client(described(provider))
    with pytest.raises(CredentialUnavailable, match=r"no assertion .*access_token"):
        await idp.by_exchange(
            provider.signed(sub="alice"), ID_TOKEN, requested=ID_JAG, audience="https://other.example"
        )


async def test_an_assertion_is_no_access_token(worker: Worker, provider: Provider) -> None:
    client = worker.outbound.client(described(provider))
    provider.token_type = "N_A"
    with pytest.raises(CredentialUnavailable, match="type N_A"):
        await client.by_exchange(provider.signed(sub="alice"), ID_TOKEN)


@pytest.mark.parametrize("code", ["invalid_grant", "invalid_scope", "invalid_target", "invalid_client", "odd\x1b[1m"])
async def test_a_refusal_says_what_to_do(worker: Worker, provider: Provider, code: str) -> None:
    provider.refuses = code
    with pytest.raises(CredentialUnavailable, match="Tracker Inc refused to let this gateway in") as told:
        await worker.outbound.client(described(provider)).by_client_credentials()
    assert "\x1b" not in told.value.reason
    assert "; " in told.value.reason


async def test_a_provider_that_is_silent_is_not_waited_for(
    worker: Worker, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.outbound_auth.client.ANSWER_S", 0.05)
    client = worker.outbound.client(described(provider))
    await client.endpoints()
    provider.faults["token"] = "silence"
    with pytest.raises(CredentialUnavailable, match="did not answer in time") as told:
        await client.by_client_credentials()
    assert told.value.retry


async def test_a_provider_that_is_not_there_is_explained(worker: Worker, unused_tcp_port: int) -> None:
    gone = Provider(url=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(CredentialUnavailable, match="cannot be reached") as told:
        await worker.outbound.client(described(gone)).by_client_credentials()
    assert told.value.retry


async def test_what_was_exchanged_for_one_server_is_sent_to_no_other_that_gets_its_name(
    worker: Worker, provider: Provider
) -> None:
    client = worker.outbound.client(described(provider))

    async def exchange(caller: Caller) -> TokenSet:
        return await client.by_exchange(provider.signed(sub=caller.principal.subject), ID_TOKEN)

    def at(address: str) -> Exchanged:
        return Exchanged(exchange, worker.vault, "server:tracker", NO_CREDENTIALS, f"auth of {address}")

    alice = Caller(Principal(provider.url, "alice", ""))
    await at("https://one.example").prepare(alice)
    first = await at("https://one.example").headers(alice.principal.person)
    with pytest.raises(CredentialUnavailable):
        await at("https://other.example").headers(alice.principal.person)
    await at("https://other.example").prepare(alice)
    assert await at("https://other.example").headers(alice.principal.person) != first
