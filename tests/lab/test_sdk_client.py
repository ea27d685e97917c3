"""The SDK's own OAuth client against the scenarios, in process: it calls, or refuses, as a right client does."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, oauth2
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared import auth_utils
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

from switchboard.lab.hops import Hop, Place
from switchboard.lab.rules import RULES, judge
from switchboard.lab.rules.sending import GIVEN_CLIENT, GIVEN_SECRET
from switchboard.lab.scenarios import SCENARIOS
from tests.lab.in_process import Clock, opened
from tests.lab.right_client import DOCUMENT, RightClient
from tests.lab.test_right_and_wrong import PAUSES
from tools.fleet.tokens import MemoryTokenStorage

CALLBACK = "http://127.0.0.1:9/callback"


TOOLS = ("read", "write", "ping_back")


async def driven(
    http: httpx2.AsyncClient, name: str, tools: tuple[str, ...] = TOOLS, clock: Clock | None = None
) -> dict[str, Any]:
    """Have the client do its calls in a scenario, with time passing between; what became of it in the end."""
    begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
    back: dict[str, str] = {}

    async def visit(url: str) -> None:
        answer = await http.get(url)
        assert answer.status_code == 303, answer.text
        back.update({key: values[0] for key, values in parse_qs(urlsplit(answer.headers["location"]).query).items()})

    async def callback() -> Any:
        return AuthorizationCodeResult(code=back["code"], state=back.get("state"), iss=back.get("iss"))

    storage = MemoryTokenStorage()
    if name == "given-client":
        given = OAuthClientInformationFull(client_id=GIVEN_CLIENT, redirect_uris=[CALLBACK], issuer=None)
        await storage.set_client_info(given)
    provider: httpx2.Auth = OAuthClientProvider(
        server_url=begun["urls"][name],
        client_metadata=OAuthClientMetadata(redirect_uris=[CALLBACK], client_name="SDK"),
        storage=storage,
        client_metadata_url=DOCUMENT if name == "client-document" else None,
        redirect_handler=visit,
        callback_handler=callback,
    )
    if name == "enterprise-managed":
        provider = assertion_provider(http, begun["urls"][name], storage)
    if name == "machine":
        url = begun["urls"][name]
        provider = ClientCredentialsOAuthProvider(
            url, storage, GIVEN_CLIENT, GIVEN_SECRET, issuer=url.removesuffix("/mcp")
        )
    error = ""
    try:
        async with (
            httpx2.AsyncClient(transport=http._transport, auth=provider) as signed,
            Client(
                streamable_http_client(begun["urls"][name], http_client=signed),
                mode="legacy" if name in LEGACY else "auto",
            ) as client,
        ):
            for pause in (0, PAUSES.get(name, 0), PAUSES.get(name, 0)) if clock else (0,):
                if clock:
                    clock.wait(pause)
                await client.list_tools()
                for tool in tools:
                    await client.call_tool(tool, {})
    except Exception as failed:
        error = repr(failed)
    await http.post(f"/lab/api/runs/{begun['run']}/end", json={"scenario": name})
    run = (await http.get(f"/lab/api/runs/{begun['run']}")).json()
    (found,) = [each for each in run["scenarios"] if each["name"] == name]
    return {**found, "error": error}


def assertion_provider(http: httpx2.AsyncClient, url: str, storage: MemoryTokenStorage) -> httpx2.Auth:
    """The SDK's provider for assertions of a company, and what it leaves to its user: how to get one."""
    issuer = url.removesuffix("/mcp")
    company = RightClient(http, url, lambda _: None, time.time, given=GIVEN_CLIENT)
    return IdentityAssertionOAuthProvider(
        url, storage, GIVEN_CLIENT, GIVEN_SECRET, issuer, lambda audience, resource: company.id_jag(audience, resource)
    )


LEGACY = {"revoked-in-stream"}
"""Scenarios that only clients of revisions before 2026-07-28 can try."""

OWN_FAULTS = {"private-key": "not_tried", **dict.fromkeys(("no-registration", "no-s256", "plain-pkce-only"), "failed")}
"""What this version of the client does wrong, or not at all: it registers at the host though the metadata name no
address for that, authorizes though they do not offer S256, and has no private_key_jwt with authorization codes."""


@pytest.mark.parametrize("name", [scenario.name for scenario in SCENARIOS])
async def test_what_the_official_client_does_is_what_a_right_client_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (oauth2, auth_utils):  # the client's clock is the server's
        monkeypatch.setattr(module, "time", SimpleNamespace(time=clock))
    async with opened(clock) as http:
        found = await driven(http, name, clock=clock)

    assert found["verdict"] == OWN_FAULTS.get(name, "passed"), (found["error"], found["rules"])


async def test_the_answer_of_a_stream_that_was_resumed_is_one_that_the_tool_may_give() -> None:
    async with opened(Clock()) as http:
        found = await driven(http, "revoked-in-stream")

    assert found["error"] == ""


@pytest.mark.parametrize(
    ("back", "status"),
    [
        ("http://127.0.0.1:9/back", 303),
        ("https://vscode.dev/redirect", 303),
        ("https://vscode.dev/other", 400),
        ("https://elsewhere.test/redirect", 400),
        ("https://127.0.0.1/back", 400),
        ("", 400),
    ],
)
async def test_a_client_that_registered_no_redirects_is_led_to_loopback_or_to_the_page_of_vs_code_alone(
    back: str, status: int
) -> None:
    asked = {"client_id": GIVEN_CLIENT, "redirect_uri": back, "response_type": "code", "resource": "http://lab.test/x"}
    asked |= {"code_challenge": "c" * 43, "code_challenge_method": "S256"}
    async with opened(Clock()) as http:
        urls = (await http.post("/lab/api/runs", json={"auto": True})).json()["urls"]
        issuer, company = (urls[name].removesuffix("/mcp") for name in ("given-client", "enterprise-managed"))
        answers = [await http.get(f"{at}/authorize", params=asked) for at in (issuer, f"{company}/idp")]

    assert [answer.status_code for answer in answers] == [status, status]


async def test_a_hop_is_kept_without_its_secrets_and_the_same_secret_is_known_again() -> None:
    async with opened(Clock()) as http:
        found = await driven(http, "plain")

    by_place = {hop["place"]: hop for hop in found["hops"]}
    given = by_place["token endpoint"]["answered"]["access_token"]
    assert re.fullmatch("#[0-9a-f]{8}", given)
    assert by_place["mcp"]["sent"]["token"] == given
    assert "eyJ" not in json.dumps([hop["answered"].get("access_token", "") for hop in found["hops"]])


async def test_no_code_or_token_that_was_given_out_stands_in_the_record() -> None:
    given: list[str] = []
    async with opened(Clock()) as http:

        async def noticed(response: httpx2.Response) -> None:
            await response.aread()
            given.extend(re.findall(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", response.headers.get("location", "") + response.text))

        http.event_hooks["response"].append(noticed)
        begun = (await http.post("/lab/api/runs", json={"auto": True})).json()
        issuer = begun["urls"]["plain"].removesuffix("/mcp")
        client = (await http.post(f"{issuer}/register", json={"redirect_uris": ["http://127.0.0.1/back"]})).json()
        given.clear()  # a client's id is no secret
        asked = {"client_id": client["client_id"], "redirect_uri": "http://127.0.0.1/back", "state": "s"}
        await http.get(f"{issuer}/authorize", params=asked)
        (code,) = given
        record = (await http.get(f"/lab/api/runs/{begun['run']}")).text

    assert "authorize" in record
    assert code not in record


async def test_a_client_that_never_comes_to_what_a_scenario_is_about_has_not_tried_it() -> None:
    async with opened(Clock()) as http:
        found = [await driven(http, name, ("read",)) for name in ("step-up", "step-up-never", "short-token")]

    assert [each["verdict"] for each in found] == ["not_tried"] * 3
    assert [each["error"] for each in found] == [""] * 3


async def test_a_consent_by_hand_is_one_authorization_and_a_look_at_the_token_endpoint_redeems_nothing() -> None:
    hops = [Hop(1, Place.AUTHORIZE, 303, answered={"code": "#1"}, method="GET")]
    by_hand = [
        Hop(2, Place.MCP, 403, {"token": "#2"}),
        *(Hop(n, Place.AUTHORIZE, 200, method="GET" if n % 2 else "POST") for n in range(3, 9)),
    ]
    looked = [*hops, Hop(2, Place.TOKENS, 400, method="OPTIONS")]

    assert [each.state for each in judge(RULES, ("step-up-ends",), by_hand, ended=True)] == ["met"]
    assert [each.state for each in judge(RULES, ("refuses-wrong-state",), looked, ended=True)] == ["met"]


async def test_a_run_names_its_client() -> None:
    async with opened(Clock()) as http:
        begun = (await http.post("/lab/api/runs")).json()
        await http.post(begun["urls"]["plain"], json={}, headers={"User-Agent": "tester/1"})
        run = (await http.get(f"/lab/api/runs/{begun['run']}")).json()

    assert run["client"] == "tester/1"


async def test_a_code_and_a_refresh_token_are_good_once_and_for_their_client_and_scenario_alone() -> None:
    async with opened(Clock()) as http:
        urls = (await http.post("/lab/api/runs", json={"auto": True})).json()["urls"]
        issuer, other = (urls[name].removesuffix("/mcp") for name in ("plain", "step-up"))
        registered = await http.post(f"{issuer}/register", json={"redirect_uris": ["http://127.0.0.1/back"]})
        client = registered.json()["client_id"]
        challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
        asked = {"client_id": client, "redirect_uri": "http://127.0.0.1:5/back", "code_challenge": challenge}
        left = await http.get(f"{issuer}/authorize", params={**asked, "scope": "read", "state": "s"})
        code = parse_qs(urlsplit(left.headers["location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": client,
            "redirect_uri": asked["redirect_uri"],
        }
        wrong = await http.post(f"{other}/token", data={**form, "code_verifier": "v" * 43})
        good = await http.post(f"{issuer}/token", data={**form, "code_verifier": "v" * 43})
        again = await http.post(f"{issuer}/token", data={**form, "code_verifier": "v" * 43})
        refresh = {"grant_type": "refresh_token", "refresh_token": good.json()["refresh_token"]}
        foreign = await http.post(f"{issuer}/token", data={**refresh, "client_id": "another"})
        renewed = await http.post(f"{issuer}/token", data={**refresh, "client_id": client})
        twice = await http.post(f"{issuer}/token", data={**refresh, "client_id": client})
        elsewhere = await http.post(
            urls["step-up"], headers={"Authorization": f"Bearer {good.json()['access_token']}"}, json={}
        )

    assert [each.status_code for each in (wrong, good, again, foreign, renewed, twice)] == [
        400,
        200,
        400,
        400,
        200,
        400,
    ]
    assert elsewhere.status_code == 401


@pytest.mark.parametrize(
    "path", ["/lab/nothing/mcp", "/lab/run/never-made/plain/mcp", "/lab/run/never-made/plain/token"]
)
async def test_what_is_not_a_scenario_or_a_run_is_404_and_keeps_nothing(path: str) -> None:
    async with opened(Clock()) as http:
        answer = await http.post(path)

    assert answer.status_code == 404
    assert "/lab lists the scenarios" in answer.text


async def test_a_person_is_asked_where_a_run_does_not_allow_by_itself() -> None:
    async with opened(Clock()) as http:
        urls = (await http.post("/lab/api/runs")).json()["urls"]
        issuer = urls["plain"].removesuffix("/mcp")
        client = (await http.post(f"{issuer}/register", json={"redirect_uris": ["http://127.0.0.1/back"]})).json()
        asked = {"client_id": client["client_id"], "redirect_uri": "http://127.0.0.1/back", "state": "s"}
        page = await http.get(f"{issuer}/authorize", params=asked)
        denied = await http.post(f"{issuer}/authorize", params=asked, data={"decision": "deny"})
        unknown = await http.get(f"{issuer}/authorize", params={**asked, "redirect_uri": "https://evil.example"})

    assert (page.status_code, "Allow" in page.text) == (200, True)
    assert "error=access_denied" in denied.headers["location"]
    assert unknown.status_code == 400


async def test_a_client_without_a_stream_is_told_so_at_once_and_asks_for_the_scopes_that_it_needs_at_first() -> None:
    async with opened(Clock()) as http:
        found = await driven(http, "step-up")

    streams = [hop["status"] for hop in found["hops"] if hop["sent"].get("method") == "GET"]
    asked = [hop["sent"]["scope"] for hop in found["hops"] if hop["place"] == "authorize"]
    assert set(streams) <= {405}
    assert asked == ["read", "read write"]
