"""The lab as two workers serve it, taking turns; and that it is nowhere else."""

from __future__ import annotations

import base64
import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from switchboard.errors import ConfigurationError
from switchboard.settings import load_settings
from tests.account.conftest import House, open_house, provider

pytestmark = pytest.mark.asyncio(loop_scope="module")
__all__ = ["open_house", "provider"]

INITIALIZE: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}
ACCEPT = {"Accept": "application/json, text/event-stream"}


async def a_token(house: House, tester: Any, endpoint: str) -> str:
    """A token of a scenario, each hop through the next worker."""

    async def send(method: str, url: str, **options: Any) -> Any:
        tester.worker = 1 - tester.worker
        return await tester.send(method, url, **options)

    refused = await send("POST", endpoint, json=INITIALIZE, headers=ACCEPT)
    assert refused.status_code == 401
    where = refused.headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
    (issuer,) = (await send("GET", where)).json()["authorization_servers"]
    parts = urlsplit(issuer)
    known = f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}"
    found = (await send("GET", known)).json()
    assert found["issuer"] == issuer
    back = "http://127.0.0.1:9/back"
    client = (await send("POST", found["registration_endpoint"], json={"redirect_uris": [back]})).json()["client_id"]
    challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 43).digest()).rstrip(b"=").decode()
    asked = {"client_id": client, "redirect_uri": back, "code_challenge": challenge, "code_challenge_method": "S256"}
    left = await send("GET", found["authorization_endpoint"], params={**asked, "resource": endpoint, "scope": "read"})
    code = parse_qs(urlsplit(left.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "client_id": client, "redirect_uri": back}
    got = await send("POST", found["token_endpoint"], data={**form, "code_verifier": "v" * 43, "resource": endpoint})
    assert got.status_code == 200, got.text
    return str(got.json()["access_token"])


@pytest.mark.parametrize("path", ["", "/below"])
async def test_every_hop_goes_through_the_next_worker_and_the_token_is_good_for_the_scenario_alone(
    open_house: Any, path: str
) -> None:
    house = await open_house(2, path, lab="on")
    async with house.browser("tester") as tester:
        begun = (await tester.send("POST", f"{path}/lab/api/runs", json={"auto": True})).json()
        endpoint = begun["urls"]["plain"]
        sent = {**ACCEPT, "Authorization": f"Bearer {await a_token(house, tester, endpoint)}"}
        served = await tester.send("POST", endpoint, json=INITIALIZE, headers=sent)
        elsewhere = await tester.send("POST", begun["urls"]["step-up"], json=INITIALIZE, headers=sent)
        ours = await tester.send("POST", f"{path}/mcp", json=INITIALIZE, headers=sent)
        run = (await tester.send("GET", f"{path}/lab/api/runs/{begun['run']}")).json()
        page = await tester.send("GET", f"{path}/lab/run/{begun['run']}")
        overview = await tester.send("GET", f"{path}/lab")

    assert (served.status_code, elsewhere.status_code, ours.status_code) == (200, 401, 401)
    verdicts = {each["name"]: each["verdict"] for each in run["scenarios"]}
    assert (verdicts["plain"], verdicts["wrong-iss"]) == ("passed", "not_tried")
    assert "Everything right" in page.text
    assert f"{house.base}/lab/wrong-state/mcp" in overview.text


async def test_a_browser_of_another_origin_may_ask_the_lab_as_it_may_ask_an_issuer(open_house: Any) -> None:
    house = await open_house(1, lab="on")
    async with house.browser("tester") as tester:
        answer = await tester.send(
            "POST",
            "/lab/plain/register",
            json={"redirect_uris": ["http://x.test/"]},
            headers={"Origin": "https://x.test"},
        )

    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] in ("*", "https://x.test")


async def test_it_is_off_unless_it_is_asked_for(open_house: Any) -> None:
    house = await open_house(1)
    async with house.browser("tester") as tester:
        found = [
            (await tester.send("GET", path)).status_code
            for path in ("/lab", "/lab/plain/mcp", "/.well-known/oauth-protected-resource/lab/plain/mcp")
        ]

    assert found == [404, 404, 404]


async def test_it_refuses_a_public_address() -> None:
    given: dict[str, Any] = {"base_uri": "https://mcp.example.com", "lab": "on", "upstream": "oidc"}
    with pytest.raises(ConfigurationError, match=r"LAB is on, but BASE_URI=https:.* is public"):
        load_settings(None, **given)
