"""Where a provider is asked: by its issuer's metadata, by a backend's, by its URLs; and what is not asked."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from switchboard.errors import ConfigurationError, CredentialUnavailable, NotConnected
from switchboard.outbound_auth.oauth_providers import OAuthProvider, preset
from switchboard.outbound_auth.registration import client_metadata
from switchboard.vault import RecordKey
from tests.auth.conftest import HOST, certificate
from tests.outbound_auth.conftest import ALICE, BOB, CALLBACK, StartWorker, Worker, connect, described, visit
from tests.outbound_auth.provider import Fault, Provider, served
from tools.serving import serving


class Backend:
    """A backend with metadata of its own: `document` at `path`, 404 elsewhere."""

    def __init__(self) -> None:
        self.url = ""
        self.path = "/.well-known/oauth-protected-resource/mcp"
        self.document: dict[str, Any] = {}
        self.status = 200

    async def answer(self, request: Request) -> Response:
        if request.url.path != self.path:
            return Response(status_code=404)
        return JSONResponse({"resource": f"{self.url}/mcp"} | self.document, self.status)


@pytest.fixture
async def backend() -> AsyncIterator[Backend]:
    backend = Backend()
    async with serving(Starlette(routes=[Route("/{path:path}", backend.answer)]), lifespan="off") as server:
        backend.url = f"http://127.0.0.1:{server.port}"
        yield backend


def behind(backend: Backend, **said: Any) -> OAuthProvider:
    """The provider that the backend's metadata names."""
    given = {"resource_url": f"{backend.url}/mcp", "client_id": "gateway", "client_secret": "secret"}
    return OAuthProvider("Tracker Inc", **given | {"private_addresses": True} | said)


@pytest.mark.parametrize("path", ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"])
async def test_a_backends_metadata_names_its_issuer_and_the_scopes_that_its_use_takes(
    worker: Worker, provider: Provider, backend: Backend, path: str
) -> None:
    backend.path = path
    backend.document = {"authorization_servers": [provider.url], "scopes_supported": ["read"]}
    accounts = worker.accounts(behind(backend, resource=f"{backend.url}/mcp"))
    await connect(accounts)
    tokens = await accounts.token(ALICE)
    assert (tokens.issuer, tokens.scopes) == (provider.url, ("read",))
    grant = provider.grant(tokens.access_token)
    assert grant is not None
    assert grant.audience == (f"{backend.url}/mcp",)


async def test_a_backend_without_metadata_is_its_own_issuer(worker: Worker, provider: Provider) -> None:
    provider.faults["resource"] = "404"
    accounts = worker.accounts(
        OAuthProvider("Tracker Inc", resource_url=f"{provider.url}/mcp", client_id="gateway", client_secret="secret")
    )
    await connect(accounts)
    assert (await accounts.token(ALICE)).issuer == provider.url


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"resource": "https://other.example/mcp"}, "describes the resource https://other.example/mcp"),
        ({"authorization_servers": []}, "names no authorization server"),
        ({"authorization_servers": ["javascript:alert(1)"]}, "names no authorization server"),
        ({"authorization_servers": [7]}, "names no authorization server"),
    ],
)
async def test_metadata_that_is_for_another_or_of_no_use_is_refused(
    worker: Worker, backend: Backend, document: dict[str, Any], why: str
) -> None:
    backend.document = {"authorization_servers": ["https://as.example"]} | document
    with pytest.raises(CredentialUnavailable, match=why):
        await worker.accounts(behind(backend)).begin(ALICE, redirect_uri=CALLBACK)


async def test_a_backend_in_trouble_is_not_taken_for_its_own_issuer(worker: Worker, backend: Backend) -> None:
    backend.status = 503
    with pytest.raises(CredentialUnavailable, match="answers 503") as told:
        await worker.accounts(behind(backend)).begin(ALICE, redirect_uri=CALLBACK)
    assert told.value.retry


async def test_refresh_tokens_are_never_shown_to_another_issuer_that_a_backend_names_later(
    start_worker: StartWorker, provider: Provider, backend: Backend
) -> None:
    backend.document = {"authorization_servers": [provider.url]}
    provider.expires_in = 0
    await connect((await start_worker()).accounts(behind(backend)))

    async with served(Provider()) as evil:
        backend.document = {"authorization_servers": [evil.url]}
        with pytest.raises(CredentialUnavailable, match="issued by another server"):
            await (await start_worker()).accounts(behind(backend)).token(ALICE)
        assert evil.of("token") == []


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:{port}", "https://127.0.0.1:{port}", "https://private.example"])
async def test_an_address_that_a_backend_names_must_be_public(
    start_worker: StartWorker, provider: Provider, backend: Backend, issuer: str
) -> None:
    async def resolve(host: str, _port: int) -> list[str]:
        return ["10.0.0.1"] if host == "private.example" else [host]

    backend.document = {"authorization_servers": [issuer.format(port=provider.url.rpartition(":")[2])]}
    worker = await start_worker(resolve=resolve)
    with pytest.raises(CredentialUnavailable, match=r"is not in the configuration.* named there, as `issuer`") as told:
        await worker.accounts(behind(backend, private_addresses=False)).begin(ALICE, redirect_uri=CALLBACK)
    assert not told.value.retry
    assert provider.of("metadata") == []


async def test_a_public_address_is_connected_to_where_it_was_checked(
    start_worker: StartWorker, backend: Backend, tmp_path: Path
) -> None:
    public, private = certificate(tmp_path)
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    worker = await start_worker(
        resolve=resolve,
        public=lambda address: address == "127.0.0.1",
        context=ssl.create_default_context(cafile=str(public)),
    )
    tls: dict[str, Any] = {"ssl_certfile": str(public), "ssl_keyfile": str(private)}
    async with served(Provider(), origin=f"https://{HOST}", **tls) as provider:
        backend.document = {"authorization_servers": [provider.url]}
        client = worker.outbound.client(behind(backend, private_addresses=False))
        assert (await client.by_client_credentials()).issuer == provider.url
        assert set(asked) == {HOST}
        assert f"https://{provider.of('token')[0].headers['host']}" == provider.url


@pytest.mark.parametrize("methods", [None, ["plain"]])
async def test_a_provider_without_pkce_is_not_used_where_a_backend_names_it(
    worker: Worker, provider: Provider, backend: Backend, methods: list[str] | None
) -> None:
    backend.document = {"authorization_servers": [provider.url]}
    provider.extra = {"code_challenge_methods_supported": methods}
    with pytest.raises(CredentialUnavailable, match="does not offer PKCE"):
        await worker.accounts(behind(backend)).begin(ALICE, redirect_uri=CALLBACK)


async def test_pkce_is_used_where_the_operator_names_a_provider_that_does_not_mention_it(
    worker: Worker, provider: Provider
) -> None:
    provider.without = ("code_challenge_methods_supported",)
    url, _kept = await worker.accounts(described(provider)).begin(ALICE, redirect_uri=CALLBACK)
    assert "code_challenge_method=S256" in url


@pytest.mark.parametrize("endpoint", ["javascript:alert(1)", "https://user@as.example/", 7, "", "ftp://as.example/"])
async def test_an_endpoint_that_is_no_web_address_is_refused(
    worker: Worker, provider: Provider, endpoint: object
) -> None:
    provider.extra = {"authorization_endpoint": endpoint}
    with pytest.raises(CredentialUnavailable, match="Tracker Inc"):
        await worker.accounts(described(provider)).begin(ALICE, redirect_uri=CALLBACK)


async def test_a_provider_without_metadata_is_asked_at_its_urls(worker: Worker, provider: Provider) -> None:
    provider.faults["metadata"], provider.says_iss = "404", False
    urls = {
        name: f"{provider.url}/{path}"
        for name, path in {"authorization_url": "authorize", "token_url": "token"}.items()
    }
    accounts = worker.accounts(described(provider, issuer="", **urls))
    await connect(accounts)
    assert (await accounts.token(ALICE)).issuer == f"{provider.url}/token"
    assert provider.of("metadata") == []


async def test_a_gateway_without_a_client_id_registers_once_for_the_fleet(
    start_worker: StartWorker, provider: Provider
) -> None:
    fleet = [(await start_worker()).accounts(described(provider, client_id="", client_secret="")) for _ in range(3)]
    begun = await asyncio.gather(*(fleet[number % 3].begin(ALICE, redirect_uri=CALLBACK) for number in range(9)))

    assert len(provider.of("register")) == 1
    said = json.loads(provider.of("register")[0].form["json"])
    assert (said["redirect_uris"], said["token_endpoint_auth_method"]) == ([CALLBACK], "none")
    assert len({kept["client_id"] for _url, kept in begun}) == 1
    provider.expires_in = 0
    await connect(fleet[1])
    provider.expires_in = 3600
    assert provider.person((await fleet[2].token(ALICE)).access_token) == "alice", "renewed as that client"


async def test_a_secret_that_a_registration_gave_is_kept_and_used(worker: Worker, provider: Provider) -> None:
    provider.extra = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    await connect(worker.accounts(described(provider, client_id="", client_secret="")))
    assert "client_secret" in provider.of("token")[0].form


async def test_a_registration_that_the_provider_has_forgotten_is_made_again(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider, client_id="", client_secret=""))
    provider.expires_in = 0
    await connect(accounts)
    provider.clients.clear()
    provider.expires_in = 3600

    with pytest.raises(NotConnected):
        await accounts.token(ALICE)
    await connect(accounts)
    assert len(provider.of("register")) == 2
    assert provider.person((await accounts.token(ALICE)).access_token) == "alice"


async def test_tokens_are_renewed_as_the_client_that_they_were_issued_to(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider, client_id="", client_secret=""))
    provider.expires_in = 0
    await connect(accounts)
    await worker.vault.delete(RecordKey("server:tracker", "client"), purpose="two weeks have passed")
    await accounts.begin(BOB, redirect_uri=CALLBACK)
    provider.expires_in = 3600

    assert provider.person((await accounts.token(ALICE)).access_token) == "alice"
    first, second = (each for each in provider.clients if each != "gateway")
    assert provider.of("token")[-1].form["client_id"] == first != second


async def test_a_client_on_loopback_registers_as_a_native_application(worker: Worker, provider: Provider) -> None:
    accounts = worker.accounts(described(provider, client_id="", client_secret=""))
    for uri, kind in (("http://127.0.0.1:8000/oauth/callback/tracker", "native"), (CALLBACK, "web")):
        await accounts.begin(ALICE, redirect_uri=uri)
        assert json.loads(provider.of("register")[-1].form["json"])["application_type"] == kind


async def test_a_gateway_that_describes_itself_needs_no_registration(worker: Worker, provider: Provider) -> None:
    provider.extra = {"client_id_metadata_document_supported": True}
    document = "https://gateway.example/oauth/client/tracker"
    accounts = worker.accounts(described(provider, client_id="", client_secret="", client_document_url=document))
    url, kept = await accounts.begin(ALICE, redirect_uri=CALLBACK)
    assert kept["client_id"] == document
    await accounts.finish(ALICE, await visit(url), kept)
    assert provider.of("register") == []
    said = client_metadata([CALLBACK]) | {"client_id": document}
    assert said["token_endpoint_auth_method"] == "none"


async def test_where_nobody_can_register_the_operator_is_told_what_to_do(worker: Worker, provider: Provider) -> None:
    provider.without = ("registration_endpoint",)
    with pytest.raises(CredentialUnavailable, match=f"with the redirect URI {CALLBACK}"):
        await worker.accounts(described(provider, client_id="", client_secret="")).begin(ALICE, redirect_uri=CALLBACK)


@pytest.mark.parametrize("fault", ["html", "500", "empty", "redirect"])
async def test_a_registration_that_fails_is_explained(worker: Worker, provider: Provider, fault: Fault) -> None:
    provider.faults["register"] = fault
    with pytest.raises(CredentialUnavailable, match="register this gateway"):
        await worker.accounts(described(provider, client_id="", client_secret="")).begin(ALICE, redirect_uri=CALLBACK)
    assert await worker.vault.names("server:tracker") == []


def test_presets_know_their_addresses() -> None:
    github = preset("github", client_id="id", client_secret="s", scopes=("repo",))
    assert (github.token_url, github.scopes) == ("https://github.com/login/oauth/access_token", ("repo",))
    assert preset("google", scopes=("openid",)).parameters["access_type"] == "offline"
    microsoft = preset("microsoft", tenant="contoso.example", scopes=("User.Read",))
    assert microsoft.authorization_url == "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize"
    assert microsoft.scopes == ("offline_access", "User.Read")
    assert "s" not in repr(github).partition("client_secret")[2][:3]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "name its issuer"),
        ({"issuer": "as.example"}, "issuer is no web address"),
        ({"issuer": "https://user:password@as.example"}, "issuer is no web address"),
        ({"token_url": "ftp://as.example"}, "token_url is no web address"),
        (
            {"issuer": "https://as.example", "client_id": "id", "client_auth": "client_secret_post"},
            "needs a client_secret",
        ),
        ({"issuer": "https://as.example", "client_id": "id", "client_auth": "private_key_jwt"}, "needs a client_key"),
    ],
)
def test_a_description_that_cannot_work_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Tracker Inc: .*{why}"):
        OAuthProvider("Tracker Inc", **said)


def test_presets_that_do_not_exist_are_named() -> None:
    with pytest.raises(ConfigurationError, match="use google, microsoft, github"):
        preset("gitlab")
    with pytest.raises(ConfigurationError, match="github has no tenants"):
        preset("github", tenant="contoso")
