"""What is particular to the stores of others: who we are there, what they lack, and how they fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
from botocore.exceptions import ClientError
from moto.secretsmanager.models import SecretsManagerBackend
from starlette.responses import RedirectResponse, Response

from switchboard.errors import VaultUnavailable
from switchboard.vault import Cipher, RecordKey, Store, Vault
from switchboard.vault.azure_identity import AzureIdentity, AzureTokens
from switchboard.vault.hashicorp_store import HashicorpDocuments
from switchboard.vault.store_http import LARGEST, StoreHttp
from tests.vault.conftest import IDENTITY, Audit, Clock, Opened
from tests.vault.servers.hashicorp import TOKEN, KeyValueEngine
from tests.vault.servers.key_vault import KeyVault
from tools.serving import serving

ALICE = '["i", "alice"]'
HERS = RecordKey("server:github", "oauth", ALICE)
SECRET = "Vq7-not-to-be-seen"


@pytest.fixture
def vault_over(audit: Audit, clock: Clock) -> Callable[[Store], Vault]:
    return lambda store: Vault(store, Cipher(["k" * 32]), audit, clock)


async def test_nothing_in_clear_and_nobody_by_name_goes_to_a_store(
    opened: Opened, vault_over: Callable[[Store], Vault], hashicorp: KeyValueEngine, key_vault: KeyVault
) -> None:
    for kind in ("hashicorp", "azure"):
        async with opened(kind) as store:
            await vault_over(store).put(HERS, {"t": SECRET}, purpose="test")

    assert SECRET not in f"{hashicorp.secrets} {key_vault.secrets}"
    assert "alice" not in f"{list(hashicorp.secrets)} {list(key_vault.secrets)}"


# -- HashiCorp Vault ---------------------------------------------------------------------------------------------------


async def test_the_token_in_a_file_may_change_at_any_time(
    opened: Opened, vault_over: Callable[[Store], Vault], hashicorp: KeyValueEngine, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    async with opened("hashicorp", token_file=file, namespace="team/a") as store:
        vault = vault_over(store)
        await vault.put(HERS, {"t": 1}, purpose="test")
        hashicorp.token = "hvs.the-next"
        with pytest.raises(VaultUnavailable, match="HashiCorp Vault answers 403: our credentials are not allowed"):
            await vault.get(HERS, purpose="test")
        assert "HashiCorp Vault answers 403" in "".join(vault.warnings())
        file.write_text("hvs.the-next")
        assert await vault.get(HERS, purpose="test") is not None
        assert "".join(vault.warnings()) == ""
        file.unlink()
        with pytest.raises(VaultUnavailable, match="VAULT_TOKEN_FILE cannot be read"):
            await vault.get(HERS, purpose="test")

    assert hashicorp.namespaces == {"team/a"}


async def test_a_record_that_was_deleted_leaves_no_version_behind(
    opened: Opened, vault_over: Callable[[Store], Vault], hashicorp: KeyValueEngine
) -> None:
    async with opened("hashicorp") as store:
        vault = vault_over(store)
        for n in range(3):
            await vault.put(HERS, {"n": n}, purpose="test")
        assert max(map(len, hashicorp.secrets.values())) == 3
        await vault.delete(HERS, purpose="test")

    assert [len(versions) for versions in hashicorp.secrets.values()] == [1]  # the proof of the keys


async def test_where_somebody_deleted_a_version_by_hand_a_record_can_be_kept_again(
    opened: Opened, vault_over: Callable[[Store], Vault], hashicorp: KeyValueEngine
) -> None:
    async with opened("hashicorp") as store:
        vault = vault_over(store)
        await vault.put(HERS, {"t": 1}, purpose="test")
        for versions in hashicorp.secrets.values():
            versions[-1] = None
        assert await vault.get(HERS, purpose="test") is None
        await vault.put(HERS, {"t": 2}, purpose="test", replacing="")
        record = await vault.get(HERS, purpose="test")
        assert record is not None
        assert record.value == {"t": 2}


# -- Azure Key Vault ---------------------------------------------------------------------------------------------------


async def test_a_federated_token_is_read_each_time_one_is_needed(
    opened: Opened, vault_over: Callable[[Store], Vault], key_vault: KeyVault, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("an.old.one")
    identity = AzureIdentity("contoso", "us", token_file=file)
    async with (
        serving(key_vault.app) as authority,
        opened("azure", azure=replace(identity, authority=authority.url)) as store,
    ):
        vault = vault_over(store)
        with pytest.raises(VaultUnavailable, match="Azure Key Vault answers 401"):
            await vault.get(HERS, purpose="test")
        file.write_text("the.federated.token\n")
        assert await vault.get(HERS, purpose="test") is None

    assert key_vault.grants[-1]["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def test_without_a_secret_the_machines_identity_counts(
    opened: Opened, vault_over: Callable[[Store], Vault], key_vault: KeyVault
) -> None:
    async with serving(key_vault.app) as machine:
        identity = AzureIdentity(client_id="us", metadata=f"{machine.url}/metadata/identity/oauth2/token")
        async with opened("azure", azure=identity) as store:
            await vault_over(store).put(HERS, {"t": 1}, purpose="test")

    assert [grant["client_id"] for grant in key_vault.grants] == ["us"]


async def test_a_token_is_kept_until_shortly_before_its_end_and_replaced_when_it_is_not_taken(
    opened: Opened, vault_over: Callable[[Store], Vault], key_vault: KeyVault
) -> None:
    async with opened("azure") as store:
        vault = vault_over(store)
        for n in range(3):
            await vault.put(HERS, {"n": n}, purpose="test")
        assert len(key_vault.grants) == 1
        key_vault.tokens.clear()
        assert await vault.get(HERS, purpose="test") is not None
        assert len(key_vault.grants) == 2

    now = 0.0
    async with serving(key_vault.app) as served, httpx2.AsyncClient() as http:
        tokens = AzureTokens(replace(IDENTITY, authority=served.url), StoreHttp(http, "Azure"), lambda: now)
        first = await tokens.token()
        now = 3299.0
        assert await tokens.token() == first
        now = 3301.0
        assert len({await tokens.token() for _ in range(3)} - {first}) == 1


async def test_callers_that_need_a_token_at_once_ask_for_one(key_vault: KeyVault) -> None:
    async with serving(key_vault.app) as served, httpx2.AsyncClient() as http:
        tokens = AzureTokens(replace(IDENTITY, authority=served.url), StoreHttp(http, "Azure"))
        assert len(set(await asyncio.gather(*(tokens.token() for _ in range(5))))) == 1
    assert len(key_vault.grants) == 1


async def test_a_secret_that_somebody_deleted_in_azure_is_named(
    opened: Opened, vault_over: Callable[[Store], Vault], key_vault: KeyVault
) -> None:
    async with opened("azure") as store:
        vault = vault_over(store)
        await vault.put(HERS, {"t": 1}, purpose="test")
        key_vault.deleted.update(key_vault.secrets)
        with pytest.raises(VaultUnavailable, match=r"has a deleted secret switchboard-.*: recover or purge it"):
            await vault.put(HERS, {"t": 2}, purpose="test")


async def test_a_page_of_the_list_at_another_server_is_not_fetched(
    opened: Opened, vault_over: Callable[[Store], Vault], key_vault: KeyVault
) -> None:
    async with opened("azure") as store:
        vault = vault_over(store)
        for n in range(4):
            await vault.put(RecordKey("plugin:mail", f"key-{n}"), {}, purpose="test")
        key_vault.next_link = "https://elsewhere.example/secrets?api-version=7.4"
        with pytest.raises(VaultUnavailable, match="names a page of another server"):
            await vault.names("plugin:mail")


# -- AWS Secrets Manager -----------------------------------------------------------------------------------------------


async def test_a_secret_that_aws_still_deletes_is_waited_for(
    opened: Opened, vault_over: Callable[[Store], Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.vault.aws_store.DELETING_S", (0.0, 0.0))
    async with opened("aws") as store:
        vault = vault_over(store)
        client: Any = store._documents._client  # type: ignore[attr-defined]
        made, left = client.create_secret, [2]

        def busy(**arguments: Any) -> Any:
            if left[0]:
                left[0] -= 1
                raise ClientError({"Error": {"Code": "InvalidRequestException", "Message": ""}}, "CreateSecret")
            return made(**arguments)

        monkeypatch.setattr(client, "create_secret", busy)
        await vault.put(HERS, {"t": 1}, purpose="test", replacing="")
        assert left == [0]
        left[0] = 3
        with pytest.raises(VaultUnavailable, match="still deletes the secret of that name"):
            await vault.put(RecordKey("server:github", "other", ALICE), {}, purpose="test")


async def test_a_secret_that_somebody_deletes_in_aws_is_none_and_its_name_is_told_to_be_taken(
    opened: Opened, vault_over: Callable[[Store], Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("switchboard.vault.aws_store.DELETING_S", ())
    async with opened("aws") as store:
        vault = vault_over(store)
        await vault.put(HERS, {"t": 1}, purpose="test")
        client: Any = store._documents._client  # type: ignore[attr-defined]
        for each in client.list_secrets()["SecretList"]:
            client.delete_secret(SecretId=each["Name"], RecoveryWindowInDays=7)
        assert await vault.get(HERS, purpose="test") is None
        with pytest.raises(VaultUnavailable, match=r"wait, or restore it there|is there, and shows none"):
            await vault.put(HERS, {"t": 2}, purpose="test")


async def test_what_aws_refuses_is_named_by_its_code_alone(
    opened: Opened, vault_over: Callable[[Store], Vault], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": SECRET}}, "GetSecretValue")

    async with opened("aws") as store:
        monkeypatch.setattr(SecretsManagerBackend, "get_secret_value", denied)
        with pytest.raises(VaultUnavailable, match="AWS Secrets Manager answers AccessDeniedException") as refused:
            await vault_over(store).get(HERS, purpose="test")
    assert SECRET not in str(refused.value)


# -- over HTTP ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Response(f"<html>{SECRET}</html>", media_type="text/html"), "with something that is no JSON object"),
        (Response(f'["{SECRET}"]'), "with something that is no JSON object"),
        (Response(SECRET, 500), "the store answers 500"),
        (Response('{"errors": ["sealed"]}', 503), "the store answers 503: it is sealed, or starting"),
        (RedirectResponse("http://127.0.0.1:1/stolen"), "the store answers 307"),
        (Response("x" * (LARGEST + 1)), "the store does not answer"),
    ],
    ids=["HTML", "an array", "500", "503", "a redirect", "too large"],
)
async def test_an_answer_that_is_none_is_told_without_what_is_in_it(answer: Response, said: str) -> None:
    async with serving(answer) as served, httpx2.AsyncClient() as http:
        with pytest.raises(VaultUnavailable, match=said) as refused:
            await StoreHttp(http, "the store").ask("GET", served.url, headers={"x-vault-token": SECRET})
    assert SECRET not in str(refused.value)


async def test_a_write_to_an_engine_that_is_not_there_is_no_write(hashicorp: KeyValueEngine) -> None:
    async with serving(hashicorp.app) as served, httpx2.AsyncClient() as http:
        with pytest.raises(VaultUnavailable, match="has no key-value engine at"):
            await HashicorpDocuments(f"{served.url}/other/folder", http, lambda: TOKEN).set("a", "b", None)


async def test_what_somebody_else_keeps_under_our_name_is_told(
    opened: Opened, vault_over: Callable[[Store], Vault], hashicorp: KeyValueEngine, key_vault: KeyVault
) -> None:
    for kind in ("hashicorp", "azure"):
        async with opened(kind) as store:
            vault = vault_over(store)
            await vault.put(HERS, {"t": 1}, purpose="test")
            for versions in (*hashicorp.secrets.values(), *key_vault.secrets.values()):
                versions.append({"id": "other"})
            with pytest.raises(VaultUnavailable, match=r"answers without what was asked for \(KeyError\)"):
                await vault.get(HERS, purpose="test")


async def test_an_engine_of_the_first_version_is_told_apart() -> None:
    async def old(_scope: Any, _receive: Any, send: Any) -> None:
        await Response('{"errors": ["unsupported path"]}', 400)(_scope, _receive, send)

    async with serving(old) as served, httpx2.AsyncClient() as http:
        with pytest.raises(VaultUnavailable, match=r"is .* a key-value engine of version 2"):
            await HashicorpDocuments(f"{served.url}/kv", http, lambda: TOKEN).set("a", "b", None)
