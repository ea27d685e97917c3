"""Searching an MCP registry, and the rows that its entries become."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.config.files import validated
from switchboard.config.layers import Layer
from switchboard.errors import ConfigurationError
from switchboard.sources.registry import NotListed, Registry, RegistryFailure
from switchboard.sources.registry_entries import NPM_HOST, Entry, Option, options
from tests.sources.registry import ENTRIES, registry

ENTRY = {each["name"]: Entry.model_validate(each) for each in ENTRIES}
WEATHER = ENTRY["io.github.example/weather"]


def by_kind(entry: Entry, server: str = "weather", **given: str) -> dict[str, Option]:
    return {option.kind: option for option in options(entry, server, given)}


def changed(**members: Any) -> Entry:
    """An entry with one package that differs from a plain one in these members."""
    plain = {"registryType": "npm", "identifier": "a", "version": "1", "transport": {"type": "stdio"}}
    return Entry.model_validate({"name": "a/b", "description": "", "version": "1", "packages": [{**plain, **members}]})


async def test_a_search_gives_pages_and_leaves_out_what_cannot_be_read() -> None:
    async with registry() as local:
        first = await Registry(local.url).search("example")
        rest = await Registry(local.url).search("example", cursor=first.cursor)
    names = [each.entry.name.rpartition("/")[2] for each in (*first.servers, *rest.servers)]
    assert names == ["weather", "clock", "old"]
    assert (first.unreadable, rest.unreadable, rest.cursor) == (1, 0, "")
    assert [(each.status, each.message) for each in rest.servers] == [("deprecated", "use clock")]


async def test_one_server_is_given_by_name_and_version() -> None:
    async with registry() as local:
        client = Registry(f"{local.url}/")
        assert (await client.server("io.github.example/clock")).entry.version == "3.0.0"
        for name, version in (
            ("io.github.example/none", "latest"),
            ("io.github.example/clock", "9"),
            ("io.github.example/clock", ".."),
        ):
            with pytest.raises(NotListed, match="has no server"):
                await client.server(name, version)
        asked = len(local.asked)
        for name in ("..", "a/b/c", "a/../b", "a/b?x", ""):
            with pytest.raises(NotListed, match="no name in a registry"):
                await client.server(name)
    assert len(local.asked) == asked


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (b"<h1>It works</h1>", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"servers": {}}', ""),
        (b'{"servers": "no"}', "something else than a list"),
        (500, "answered 500"),
        (307, "answered 307"),
        (b'{"servers": ["' + b"x" * (4 * 1024 * 1024) + b'"]}', "more than 4194304 bytes"),
    ],
)
async def test_what_is_no_answer_of_a_registry_is_refused(fault: bytes | int, said: str) -> None:
    async with registry() as local:
        local.fault = fault
        if not said:
            assert (await Registry(local.url).search("a")).servers == ()
            return
        with pytest.raises(RegistryFailure, match=said) as raised:
            await Registry(local.url).search("a")
    assert local.url in str(raised.value)
    assert len(local.asked) == 1


async def test_a_registry_that_is_not_there_is_named() -> None:
    with pytest.raises(RegistryFailure, match=r"http://127\.0\.0\.1:9 cannot be asked"):
        await Registry("http://127.0.0.1:9").search("a")


def test_a_remote_becomes_a_url_with_headers_and_a_variable_for_its_secret() -> None:
    first, *_ = options(WEATHER, "weather", {})
    assert (first.kind, first.row) == (
        "http",
        {
            "url": "https://eu.weather.example/mcp",
            "type": "http",
            "headers": {"Authorization": "Bearer ${MCP_WEATHER_TOKEN}", "X-Trace": "on"},
            "description": "Forecasts of all places",
        },
    )
    asked = {each.name: each for each in first.inputs}
    assert (asked["token"].secret, asked["token"].reference) == (True, "${MCP_WEATHER_TOKEN}")
    assert (asked["region"].choices, asked["region"].default, asked["region"].reference) == (("eu", "us"), "eu", "")
    given = by_kind(WEATHER, token="${TOKEN}", region="us")["http"]
    assert given.row["url"] == "https://us.weather.example/mcp"
    assert given.row["headers"]["Authorization"] == "Bearer ${TOKEN}"


def test_packages_become_sources_with_their_arguments_and_variables() -> None:
    found = by_kind(WEATHER)
    assert found["npm"].row == {
        "source": "npm",
        "package": "@example/weather",
        "version": "1.2.0",
        "args": ["serve", "--units", "metric", "${MCP_WEATHER_FOLDER}"],
        "env": {"API_KEY": "${MCP_WEATHER_API_KEY}", "LEVEL": "info"},
        "description": "Forecasts of all places",
    }
    assert found["npm"].notes == ()
    assert [each.description for each in found["npm"].inputs if each.name == "API_KEY"] == ["Key of the weather"]
    assert found["pypi"].row["package"] == "weather-mcp"
    assert found["docker"].row == {
        "source": "docker",
        "image": "images.example/example/weather",
        "version": "1.2.0",
        "run_args": ["--mount", "type=bind,src=${MCP_WEATHER_SOURCE},dst=/data"],
        "args": ["/data"],
        "description": "Forecasts of all places",
    }
    assert "look at what that allows it" in found["docker"].notes[0]
    assert "unpack it" in found["mcpb"].problem
    given = by_kind(WEATHER, place="Bern", units="imperial", folder="/x")["npm"].row
    assert given["args"] == ["serve", "--units", "imperial", "--place", "Bern", "/x"]


def test_every_row_of_an_entry_is_a_valid_server() -> None:
    variables = {"SECRET_KEY": "s3cr3t", "VAULT_KEYS": "k3y5"}
    for entry in ENTRY.values():
        for option in options(entry, "server", {}):
            values = {each.reference[2:-1]: "value" for each in option.inputs if each.reference}
            if option.problem:
                assert option.row == {}
                continue
            found = validated([Layer("it", {"mcpServers": {"server": option.row}})], {**variables, **values})
            assert not found.broken, (entry.name, found.broken)
            assert "s3cr3t" not in str(found.servers["server"].model_dump())
            assert "k3y5" not in str(found.servers["server"].model_dump())


def test_an_entry_gets_no_variable_of_this_server_and_no_package_of_another_registry() -> None:
    found = options(ENTRY["com.evil/thief"], "thief", {})
    row = found[0].row
    assert row["url"] == "https://evil.example/$${SECRET_KEY}"
    assert row["headers"] == {
        "X-A": "$${SECRET_KEY}",
        "X-B": "$${VAULT_KEYS}",
        "SECRET_KEY": "${MCP_THIEF_SECRET_KEY}",
        "X-C": "$${SECRET_KEY}",
        "X-D": "$${SECRET_KEY}",
    }
    assert row["description"] == "Takes what it gets"
    assert [option.problem.partition(":")[0] for option in found[1:]] == [
        f"it comes from npm.evil.example, and packages are taken from {NPM_HOST} alone",
        "'--prefix=/' is not the name of a package",
        "it listens at a port of its own instead of stdio",
    ]


def test_a_dollar_before_a_value_that_is_asked_for_is_refused() -> None:
    asking = {"name": "A", "value": "${b}", "variables": {"b": {"isRequired": True}}}
    entry = changed(environmentVariables=[asking])
    assert "$ before a value" in by_kind(entry)["npm"].problem
    assert "$ before a value" in by_kind(entry, b="{SECRET_KEY}")["npm"].problem


def test_a_value_that_is_no_choice_or_that_nothing_asks_for_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="units is one of: metric, imperial"):
        options(WEATHER, "weather", {"units": "kelvin"})
    with pytest.raises(ConfigurationError, match="does not ask for 'unit'; it asks for: API_KEY, LEVEL"):
        options(WEATHER, "weather", {"unit": "metric"})


def test_an_image_that_has_a_tag_keeps_it() -> None:
    tagged = changed(registryType="oci", identifier="docker.io/a/b:2", version="1")
    assert by_kind(tagged)["docker"].row == {"source": "docker", "image": "docker.io/a/b:2"}


def test_what_has_no_effect_here_or_is_too_much_is_said() -> None:
    odd = changed(runtimeArguments=[{"type": "named", "name": "--registry", "value": "https://x"}])
    assert "--registry" in by_kind(odd)["npm"].notes[0]
    many = changed(environmentVariables=[{"name": f"V{index}"} for index in range(101)])
    assert by_kind(many)["npm"].problem == "it asks for more than 100 values"
    assert "'nuget'" in by_kind(changed(registryType="nuget"))["nuget"].problem
