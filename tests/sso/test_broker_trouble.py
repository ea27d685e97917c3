"""The broker as a client of the SSO: how it proves who it is, and what happens when that fails."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from structlog.testing import capture_logs

from switchboard.errors import ConfigurationError
from switchboard.settings import Settings, load_settings

PAGE = Path(__file__).parents[2] / "docs" / "sso.md"
CALLBACK = "http://127.0.0.1:33418/callback"
SECRET = "a+b/c= %ü:&"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def _settings(url: str, **changes: Any) -> Settings:
    given = {"upstream": "oidc", "upstream_issuer": url, "upstream_client_id": "us"}
    return load_settings(None, **(given | {"upstream_client_secret": SECRET} | changes))


async def _consent(http: httpx2.AsyncClient) -> httpx2.Response:
    """The answer to a consent that was given, at the server or at the SSO's callback."""
    registered = await http.post("/register", json={"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"})
    asked = {"response_type": "code", "client_id": registered.json()["client_id"], "redirect_uri": CALLBACK}
    asked |= {"state": "s&x=1", "scope": "mcp", "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    return await _allowed(http, await http.get("/authorize", params=asked))


async def _allowed(http: httpx2.AsyncClient, page: httpx2.Response) -> httpx2.Response:
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page.text))
    left = await http.post("/consent", data=fields | {"decision": "allow"})
    if left.status_code != 303:
        return left
    async with httpx2.AsyncClient(trust_env=False) as sso:
        signed_in = await sso.get(left.headers["location"])
    return await http.get(signed_in.headers["location"])


def _back(answer: httpx2.Response) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


def _undecoded(header: str, form: Mapping[str, str]) -> bool:
    """A provider that takes the header's parts as they stand (and forgets that they are form-encoded)."""
    return form.get("client_secret") == SECRET or base64.b64decode(header[6:]).decode() == f"us:{SECRET}"


def _header_only(header: str, _form: Mapping[str, str]) -> bool:
    return base64.b64decode(header[6:]).decode() == "us:a%2Bb%2Fc%3D+%25%C3%BC%3A%26"


@pytest.mark.parametrize(
    ("knows", "said", "setting", "proofs"),
    [
        (_undecoded, None, None, ["basic", "post", "post"]),
        (_undecoded, ["client_secret_post"], None, ["post", "post"]),
        (_undecoded, ["client_secret_basic", "client_secret_post"], "post", ["post", "post"]),
        (_header_only, ["client_secret_post"], None, ["post", "basic", "basic"]),
        (_header_only, ["client_secret_post"], "basic", ["basic", "basic"]),
    ],
)
async def test_a_secret_with_special_characters_is_sent_as_the_provider_takes_it(
    start_issuer: Any, resource: Any, knows: Any, said: list[str] | None, setting: str | None, proofs: list[str]
) -> None:
    extra = {} if said is None else {"token_endpoint_auth_methods_supported": said}
    issuer = await start_issuer(extra=extra, knows=knows)
    http = await resource(_settings(issuer.url, upstream_client_auth=setting))
    for _ in range(2):
        assert _back(await _consent(http)).keys() >= {"code", "state"}
    assert issuer.proofs == proofs


@pytest.mark.parametrize("form", ["pem", "jwk"])
@pytest.mark.parametrize("key", [RSAKey.generate_key(2048), ECKey.generate_key("P-256")], ids=["rsa", "ec"])
async def test_a_private_key_stands_for_the_secret(
    start_issuer: Any, resource: Any, tmp_path: Path, key: Any, form: str
) -> None:
    """RFC 7523 §2.2 and §3."""
    file, seen = tmp_path / "key", []

    def knows(_header: str, sent: Mapping[str, str]) -> bool:
        seen.append(jwt.decode(sent["client_assertion"], key, algorithms=["RS256", "ES256"]).claims)
        return sent["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

    file.write_bytes(key.as_pem(private=True) if form == "pem" else json.dumps(key.as_dict(private=True)).encode())
    issuer = await start_issuer(knows=knows)
    changes = {"upstream_client_auth": "private_key_jwt", "upstream_client_key_file": file}
    http = await resource(_settings(issuer.url, upstream_client_secret=None, **changes))
    for _ in range(2):
        assert "code" in _back(await _consent(http))
    assert issuer.proofs == ["private_key_jwt"] * 2
    assert [(each["iss"], each["sub"], each["aud"]) for each in seen] == [("us", "us", issuer.at("token"))] * 2
    assert seen[0]["jti"] != seen[1]["jti"]


@pytest.mark.parametrize("text", [None, "", "not a key", "public"])
async def test_a_key_file_without_a_private_key_is_refused_at_the_start(
    resource: Any, tmp_path: Path, text: str | None
) -> None:
    file = tmp_path / "key"
    if text is not None:
        file.write_bytes(RSAKey.generate_key(2048).as_pem(private=False) if text == "public" else text.encode())
    changes = {"upstream_client_auth": "private_key_jwt", "upstream_client_key_file": file}
    with pytest.raises(ConfigurationError, match=r"UPSTREAM_CLIENT_KEY_FILE is .*key: "):
        await resource(_settings("https://sso.example", **changes))


def test_a_private_key_needs_a_file() -> None:
    with pytest.raises(ConfigurationError, match="UPSTREAM is oidc, but not set: UPSTREAM_CLIENT_KEY_FILE"):
        _settings("https://sso.example", upstream_client_auth="private_key_jwt")


def _page(answer: httpx2.Response) -> tuple[str, str]:
    """The reference on a page of trouble, and where its link leads."""
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
    reference = re.search(r"reference <code>(\w{8})</code>", answer.text)
    again = re.search(r'<a href="([^"]+)">Try again</a>', answer.text)
    assert reference
    assert again
    return reference[1], again[1].replace("&amp;", "&")


async def test_a_wrong_secret_is_in_the_log_and_the_page_says_what_to_do(start_issuer: Any, resource: Any) -> None:
    issuer = await start_issuer(knows=lambda _header, _form: False)
    http = await resource(_settings(issuer.url))
    with capture_logs() as logs:
        answer = await _consent(http)
    reference, again = _page(answer)
    assert "not set up for each other" in answer.text
    [line] = [line for line in logs if line["event"] == "sign-in.failed"]
    assert (line["log_level"], line["reference"]) == ("warning", reference)
    assert "401 (invalid_client: no\\x1b[1m such client)" in line["reason"]
    assert "UPSTREAM_CLIENT_SECRET" in line["reason"]
    assert SECRET not in str(logs)
    issuer.knows = lambda _header, _form: True
    back = _back(await _allowed(http, await http.get(again)))
    assert (back["state"], "code" in back) == ("s&x=1", True)


async def test_a_provider_that_is_down_is_in_the_log_and_the_page_has_a_way_on(unused: str, resource: Any) -> None:
    http = await resource(_settings(unused))
    with capture_logs() as logs:
        answer = await _consent(http)
    reference, again = _page(answer)
    assert "did not answer" in answer.text
    [line] = [line for line in logs if line["event"] == "sign-in.failed"]
    assert line["reference"] == reference
    assert "ConnectError" in line["reason"]
    assert (await http.get(again)).status_code == 200
    assert _page(await http.get("/grants"))[1].endswith("/grants")


async def test_metadata_of_another_issuer_is_said_with_both_names(start_issuer: Any, resource: Any) -> None:
    issuer = await start_issuer(extra={"issuer": "https://other.example/"})
    with capture_logs() as logs:
        await _consent(await resource(_settings(issuer.url)))
    [line] = [line for line in logs if line["event"] == "sign-in.failed"]
    assert f"names the issuer https://other.example/, UPSTREAM_ISSUER is {issuer.url}" in line["reason"]


@pytest.mark.parametrize(
    ("person", "reason"),
    [({"iss": "https://x.example"}, "iss is https://x.example"), ({"exp": 1}, "exp is 1"), ({"sub": 7}, "sub")],
)
async def test_what_is_wrong_with_an_id_token_is_in_the_log_at_the_reference_the_client_got(
    start_issuer: Any, resource: Any, person: dict[str, Any], reason: str
) -> None:
    issuer = await start_issuer(person={"sub": "s-1", **person})
    with capture_logs() as logs:
        back = _back(await _consent(await resource(_settings(issuer.url))))
    [line] = [line for line in logs if line["event"] == "sign-in.refused"]
    assert back["error"] == "server_error"
    assert line["reference"] in back["error_description"]
    assert reason in line["reason"]


async def test_the_pages_block_with_a_key_signs_people_in(
    start_issuer: Any, resource: Any, block: Any, tmp_path: Path
) -> None:
    file = tmp_path / "client-key.pem"
    file.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    issuer = await start_issuer()
    http = await resource(block("generic-key", issuer, upstream_client_key_file=file))
    assert "code" in _back(await _consent(http))
    assert issuer.proofs == ["private_key_jwt"]


def test_the_page_says_the_redirect_uri_for_every_provider() -> None:
    """A broker at a provider that was not told of it ends on the provider's own page of errors."""
    sections = re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE)
    brokers = [section for section in sections if "\nUPSTREAM=oidc" in section]
    assert len(brokers) == 7
    assert [text[:20] for text in brokers if "https://mcp.example.com/upstream/callback" not in text] == []
