"""AUTH.md, a corporate SSO: start-up checks the issuer and says what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from switchboard.errors import ConfigurationError
from switchboard.settings import load_settings


def _separate(issuer: Any, **changes: Any) -> Any:
    return load_settings(None, auth_mode="separate", auth_server_url=issuer.url, **changes)


async def test_an_issuer_with_everything_is_passed_in_silence(start_issuer: Any, resource: Any) -> None:
    issuer = await start_issuer()
    with capture_logs() as logs:
        await resource(_separate(issuer))
    assert [line for line in logs if line["log_level"] != "debug"] == []


async def test_one_line_says_all_that_clients_will_miss(start_issuer: Any, resource: Any) -> None:
    issuer = await start_issuer(without=("code_challenge_methods_supported", "registration_endpoint"))
    with capture_logs() as logs:
        await resource(_separate(issuer, token_validation="jwt"))
    [line] = [line for line in logs if line["event"] == "issuer.incomplete"]
    assert line["log_level"] == "warning"
    assert "S256" in line["lacking"]
    assert "registration endpoint" in line["lacking"]


@pytest.mark.parametrize(
    ("validation", "needed"),
    [("introspection", "introspection_endpoint"), ("jwt", "jwks_uri"), ("auto", "jwks_uri")],
)
async def test_an_issuer_whose_tokens_can_never_be_verified_is_refused(
    start_issuer: Any, resource: Any, validation: str, needed: str
) -> None:
    issuer = await start_issuer(without=(needed,))
    with pytest.raises(ConfigurationError, match=f"TOKEN_VALIDATION is {validation}: .*{needed}"):
        await resource(_separate(issuer, token_validation=validation))


async def test_an_address_in_the_settings_makes_up_for_one_that_the_metadata_lacks(
    start_issuer: Any, resource: Any, ask: Any
) -> None:
    issuer = await start_issuer(without=("introspection_endpoint",))
    issuer.opaque["good"] = {"active": True, "sub": "s-1", "aud": "http://localhost:3232/mcp"}
    http = await resource(_separate(issuer, introspection_url=issuer.at("introspect")))
    assert (await ask(http, "good"))[0] == 200


async def test_a_worker_starts_while_the_issuer_is_away_or_another_and_works_when_it_is_back(
    start_issuer: Any, resource: Any, ask: Any
) -> None:
    issuer = await start_issuer(extra={"issuer": "https://other.example"})
    with capture_logs() as logs:
        http = await resource(_separate(issuer, token_validation="jwt"))
    [line] = [line for line in logs if line["log_level"] == "warning"]
    assert (line["event"], line["issuer"]) == ("issuer.unreadable", issuer.url)
    assert "names the issuer https://other.example, which must be the same" in line["why"]
    issuer.extra = {}
    assert (await ask(http, issuer.token(aud="http://localhost:3232/mcp", scope="mcp")))[0] == 200


async def test_nobody_listening_is_a_warning_too(unused: str, resource: Any) -> None:
    with capture_logs() as logs:
        http = await resource(load_settings(None, auth_mode="separate", auth_server_url=unused))
    [line] = [line for line in logs if line["log_level"] == "warning"]
    assert line["event"] == "issuer.unreadable"
    assert f"{unused}/.well-known/openid-configuration cannot be reached (ConnectError)" in line["why"]
    answer = await http.post("/mcp", headers={"Authorization": "Bearer any"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


async def test_without_a_list_of_clients_a_token_needs_an_audience(start_issuer: Any, resource: Any, ask: Any) -> None:
    issuer = await start_issuer()
    token = issuer.token(client_id="job")
    listed = await resource(_separate(issuer, token_validation="jwt", token_clients=("job",)))
    unlisted = await resource(_separate(issuer, token_validation="jwt"))
    assert [(await ask(http, token))[0] for http in (listed, unlisted)] == [200, 401]


@pytest.mark.parametrize("name", ["required_claims", "scope_map"])
def test_json_that_is_none_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name.upper()} is '{{oops': must be JSON"):
        load_settings(None, **{name: "{oops"})


def test_every_block_of_the_page_is_tried(documented: dict[str, str]) -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert len(documented) > 10
    assert [name for name in documented if f'"{name}"' not in tests] == []
