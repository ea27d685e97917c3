"""The provider is looked at before anybody signs in: at the start, and by `switchboard doctor`."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from switchboard.cli.checks.doctor import provider_findings
from switchboard.settings import Settings, load_settings

CALLBACK = "http://localhost:3232/upstream/callback"


def _broker(url: str) -> Settings:
    return load_settings(
        None, upstream="oidc", upstream_issuer=url, upstream_client_id="us", upstream_client_secret="hush-hush"
    )


def _direct(url: str, **changes: Any) -> Settings:
    client = {"introspection_client_id": "us", "introspection_client_secret": "hush-hush"}
    return load_settings(None, auth_mode="separate", auth_server_url=url, **(client | changes))


async def _found(settings: Settings) -> list[tuple[str, str]]:
    findings = await provider_findings(settings)
    assert "hush" not in str(findings)
    return [(each.verdict, each.said) for each in findings]


async def test_doctor_tells_the_redirect_uri_and_passes_a_provider_that_knows_us(start_issuer: Any) -> None:
    found = await _found(_broker((await start_issuer()).url))
    assert [verdict for verdict, _ in found] == ["ok"] * 4
    assert CALLBACK in found[0][1]
    assert found[-1][1] == "it takes this server as its client"


async def test_doctor_finds_a_wrong_client_secret(start_issuer: Any) -> None:
    issuer = await start_issuer(knows=lambda _header, _form: False)
    verdict, said = (await _found(_broker(issuer.url)))[-1]
    assert verdict == "failed"
    assert "UPSTREAM_CLIENT_SECRET" in said


async def test_doctor_finds_another_issuer_and_one_that_is_down(start_issuer: Any, unused: str) -> None:
    other = await start_issuer(extra={"issuer": "https://other.example"})
    for settings, name in ((_broker(other.url), "UPSTREAM_ISSUER"), (_direct(other.url), "must be the same")):
        said = (await _found(settings))[-1][1]
        assert "https://other.example" in said
        assert name in said
    for settings in (_broker(unused), _direct(unused)):
        verdict, said = (await _found(settings))[-1]
        assert (verdict, "ConnectError" in said) == ("warning", True)


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({"token_validation": "jwt"}, "ok", "its jwks_uri has 1 keys"),
        ({}, "ok", "it takes our introspection client"),
        ({"introspection_url": "token"}, "failed", "INTROSPECTION_CLIENT_SECRET"),
    ],
)
async def test_doctor_looks_at_an_issuer_of_direct_mode(
    start_issuer: Any, changes: dict[str, Any], verdict: str, said: str
) -> None:
    issuer = await start_issuer(knows=lambda _header, _form: False)
    url = {name: issuer.at(value) for name, value in changes.items() if name == "introspection_url"}
    found = await _found(_direct(issuer.url, **(changes | url)))
    assert found[-1][0] == verdict
    assert said in found[-1][1]


async def test_a_start_logs_the_redirect_uri_and_warns_of_a_provider_that_is_down_or_another(
    start_issuer: Any, unused: str, resource: Any
) -> None:
    other = await start_issuer(extra={"issuer": "https://other.example"})
    for url, why in ((unused, "ConnectError"), (other.url, "names the issuer https://other.example")):
        with capture_logs() as logs:
            await resource(_broker(url))
        assert [line["redirect_uri"] for line in logs if line["event"] == "provider.named"] == [CALLBACK]
        [line] = [line for line in logs if line["event"] == "provider.unready"]
        assert (line["log_level"], why in line["why"]) == ("warning", True)


async def test_nothing_is_looked_at_where_nobody_else_signs_people_in() -> None:
    assert await _found(load_settings(None)) == []
