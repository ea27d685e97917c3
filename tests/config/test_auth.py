"""`auth` of a server: what each strategy takes, and what is said of what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from switchboard.config import ServerSection
from switchboard.config.files import layers, validated
from switchboard.config.redaction import HIDDEN, shown

URL = {"url": "https://there/mcp"}
CHILD = {"command": "x"}
CLIENT = {"client_id": "me", "client_secret": "s", "token_url": "https://issuer/token"}

GOOD: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "header": (URL, {"strategy": "service", "headers": {"X-Api-Key": "k"}}),
    "key": (URL, {"strategy": "service", "api_key": "k"}),
    "key in a header": (URL, {"strategy": "service", "api_key": "k", "header": "X-Api-Key"}),
    "basic": (URL, {"strategy": "service", "username": "u", "password": "p"}),
    "client": (URL, {"strategy": "service", **CLIENT, "scopes": ["read"]}),
    "signed": (URL, {"strategy": "service", "client_id": "me", "private_key": "PEM", "issuer": "https://issuer"}),
    "child": (CHILD, {"strategy": "service", "api_key": "k", "env": "TOKEN_VARIABLE"}),
    "account": (URL, {"strategy": "user_oauth", "provider": "github", "client_id": "me", "client_secret": "s"}),
    "found account": (URL, {"strategy": "user_oauth"}),
    "exchange": (URL, {"strategy": "token_exchange", "audience": "there", "scopes": ["read"]}),
    "enterprise": (URL, {"strategy": "enterprise", "idp": "https://idp", "client_id": "me", "client_secret": "s"}),
    "discovery": (URL, {"strategy": "user_oauth", "service": {"api_key": "k"}}),
}


@pytest.mark.parametrize("name", GOOD)
def test_each_kind_of_credential_is_valid(name: str) -> None:
    row, auth = GOOD[name]
    assert ServerSection.model_validate({**row, "auth": auth}).auth.strategy == auth["strategy"]


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "nothing": (URL, {"strategy": "service"}, "is one of 'headers', 'api_key', .* none is stated"),
    "two": (URL, {"strategy": "service", "api_key": "k", "username": "u"}, "'api_key' and 'username' is stated"),
    "half basic": (URL, {"strategy": "service", "username": "u"}, "'username' needs 'password'"),
    "half client": (URL, {"strategy": "service", "client_id": "me"}, "'client_id' needs 'client_secret' or"),
    "nowhere": (URL, {"strategy": "service", "client_id": "me", "client_secret": "s"}, "needs 'token_url' or 'issuer'"),
    "two secrets": (URL, {"strategy": "service", **CLIENT, "private_key": "PEM"}, "only one of 'client_secret' and"),
    "stray scopes": (URL, {"strategy": "service", "api_key": "k", "scopes": ["a"]}, "'scopes' means nothing without"),
    "foreign": (
        URL,
        {"strategy": "service", "idp": "https://idp"},
        "'idp' means nothing .* to 'enterprise'",
    ),
    "foreign to none": (URL, {"audience": "x"}, "'audience' means nothing for the strategy 'none'"),
    "shared": ({**URL, "scope": "shared"}, {"strategy": "user_oauth"}, "'scope: shared' would have people act with"),
    "doubled": ({**URL, "headers": {"authorization": "x"}}, {"strategy": "service", "api_key": "k"}, "both state a"),
    "doubled key": (
        {**URL, "headers": {"X-KEY": "x"}},
        {"strategy": "service", "api_key": "k", "header": "X-Key"},
        "'headers.X-KEY' and 'auth' both state a credential",
    ),
    "no variable": (CHILD, {"strategy": "service", "api_key": "k"}, "'auth' needs 'env': the variable"),
    "headers of a child": (CHILD, {"strategy": "service", "headers": {"A": "k"}, "env": "A"}, "'auth.headers' means"),
    "variable of a url": (URL, {"strategy": "service", "api_key": "k", "env": "A"}, "'auth.env' means nothing"),
    "plain http": (URL, {"strategy": "service", **CLIENT, "token_url": "http://issuer/token"}, "plain http to issuer"),
    "whose": (
        URL,
        {"strategy": "user_oauth", "provider": "google", "issuer": "https://i", "client_id": "a"},
        "only one",
    ),
    "unknown to whom": (URL, {"strategy": "user_oauth", "provider": "github"}, "'provider' needs the 'client_id'"),
    "no idp": (URL, {"strategy": "enterprise"}, "needs 'idp'"),
    "no asker": (URL, {"strategy": "user_oauth", "discovery": "service"}, "'discovery: service' needs 'service'"),
    "asker for nothing": (
        URL,
        {"strategy": "user_oauth", "discovery": "person", "service": {"api_key": "k"}},
        "'service' means nothing with 'discovery: person'",
    ),
    "key of two lines": (URL, {"strategy": "service", "api_key": "a\nb"}, "visible ASCII|match pattern"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_meant_is_refused_with_the_reason(name: str) -> None:
    row, auth, says = BAD[name]
    with pytest.raises(ValueError, match=says) as caught:
        ServerSection.model_validate({**row, "auth": auth})
    assert "hunter2" not in str(caught.value)


SECRETS = """
mcpServers:
  a: {url: "https://a", auth: {strategy: service, headers: {X-Odd: hunter2}}}
  b: {url: "https://a", auth: {strategy: service, api_key: hunter2, header: X-Odd}}
  c: {url: "https://a", auth: {strategy: service, username: me, password: hunter2}}
  d: {url: "https://a", auth: {strategy: service, client_id: me, private_key: hunter2, issuer: "https://i"}}
  e: {url: "https://a", auth: {strategy: enterprise, idp: {issuer: "https://i", client_id: me, client_secret: hunter2}}}
  f: {url: "https://a", auth: {strategy: user_oauth, service: {api_key: hunter2}}}
  g: {command: a, auth: {strategy: service, api_key: "${KEY}", env: TOKEN_VARIABLE}}
"""


def test_no_secret_of_a_strategy_is_shown(write: Any) -> None:
    written = layers(write("c.yaml", SECRETS), {"KEY": "hunter2"})
    configuration = validated(written, {"KEY": "hunter2"})
    document = shown(configuration, written)
    assert "hunter2" not in repr(document)
    assert "hunter2" not in repr(configuration)
    assert document["mcpServers"]["e"]["auth"]["idp"]["client_secret"] == HIDDEN
    assert document["mcpServers"]["g"]["auth"] == {"strategy": "service", "api_key": "${KEY}", "env": "TOKEN_VARIABLE"}
