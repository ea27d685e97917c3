from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest

from switchboard.config.files import layers, validated
from switchboard.config.redaction import shown
from switchboard.config.schema import schema

WriteFile = Callable[[str, str], Path]

FULL = """
mcpServers:
  a:
    command: tool
    args: [--token, hunter2, --api-key=hunter2, --name, ok, PASSWORD=hunter2, "https://u:hunter2@host/x?key=hunter2"]
    env: {PLAIN: hunter2, GIVEN: "${SECRET}", MIXED: "x-${SECRET}", OR: "${SECRET:-hunter2}"}
  b:
    url: "https://host/${SECRET}"
    headers: {Authorization: "Bearer ${SECRET}", X-Key: hunter2}
  c:
    url: "https://host"
    auth: {strategy: service, client_id: me, client_secret: hunter2, token_url: "https://issuer/token"}
plugins:
  everything: {config: {api_key: hunter2, colour: red}}
"""


def test_what_is_shown_has_the_values_in_force_but_no_secret(write: WriteFile) -> None:
    variables = {"SECRET": "hunter2"}
    written = layers(write("c.yaml", FULL), variables)
    document = shown(validated(written, variables), written)
    assert "hunter2" not in json.dumps(document)
    a, b = document["mcpServers"]["a"], document["mcpServers"]["b"]
    assert a["args"][:6] == ["--token", "[hidden]", "--api-key=[hidden]", "--name", "ok", "PASSWORD=[hidden]"]
    assert a["args"][6] == "https://[hidden]@host/x?[hidden]"
    assert a["env"] == {"PLAIN": "[hidden]", "GIVEN": "${SECRET}", "MIXED": "[hidden]", "OR": "[hidden]"}
    assert (b["url"], b["headers"]) == (
        "https://host/${SECRET}",
        {"Authorization": "Bearer ${SECRET}", "X-Key": "[hidden]"},
    )
    assert document["mcpServers"]["c"]["auth"] == {
        "strategy": "service",
        "client_id": "me",
        "client_secret": "[hidden]",
        "token_url": "https://issuer/token",
    }
    assert document["plugins"]["everything"]["config"] == {"api_key": "[hidden]", "colour": "red"}


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        "mcpServers: {x: {url: 'https://a', type: streamable-http, disabled: true, alwaysAllow: [a]}}",
        "mcpServers: {x: {command: a, timeout: '${WAIT:-3}', enabled: '${ON:-true}', era: '${ERA:-auto}'}}",
        "mcpServers: {x: {url: 'https://a', auth: {strategy: master_oauth}}}\n$schema: ./s.json",
        "presets: {dev: {tags: 'web,!danger'}}\ntool_search: {enabled: true}",
    ],
)
def test_what_is_valid_is_valid_by_the_schema(write: WriteFile, text: str) -> None:
    written = layers(write("c.yaml", text), {"SECRET": "x"})
    validated(written, {"SECRET": "x"})
    jsonschema.Draft202012Validator(schema()).validate(written[0].document)


@pytest.mark.parametrize(
    "document",
    [
        {"mcpServer": {}},
        {"mcpServers": {"x": {"command": "a", "colour": 1}}},
        {"mcpServers": {"x": {"command": "a", "era": "new"}}},
        {"mcpServers": {"x": {"command": 1}}},
        {"plugins": {"x": {"enabled": "perhaps"}}},
    ],
)
def test_what_is_not_valid_is_not_by_the_schema_either(document: object) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema()).validate(document)
