"""What is printed of an object, in a log, an assertion or a traceback, holds no secret."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import auth_server
import switchboard
from auth_server.settings import GithubSettings, OidcSettings, StaticClient
from auth_server.store import Issued
from switchboard.backends.config import Http, Sse, Stdio

SECRET = ("secret", "password", "client_key", "private_key", "secret_keys")
"""How the name of a field ends that is a secret itself."""


def _fields() -> Iterator[tuple[str, dataclasses.Field[object]]]:
    for package in (switchboard, auth_server):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if found.name.endswith(("__main__", "watchdog_process")):
                continue
            for name, kind in vars(importlib.import_module(found.name)).items():
                if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == found.name:
                    yield from ((f"{found.name}.{name}.{field.name}", field) for field in dataclasses.fields(kind))


def test_no_field_that_is_a_secret_is_printed() -> None:
    named = [(name, field) for name, field in _fields() if field.name.endswith(SECRET)]
    fields = [(name, field) for name, field in named if field.type not in ("bool", bool)]  # whether something is one

    assert len(fields) >= 5
    assert [name for name, field in fields if field.repr] == []


def test_credentials_of_backends_providers_clients_and_tokens_are_not_printed() -> None:
    word = "Vq7-not-to-be-seen"
    held = (
        Stdio(command="tool", env={"TOKEN": word}),
        Http(urls=("http://127.0.0.1:1/mcp",), headers={"authorization": word}),
        Sse(url="http://127.0.0.1:1/sse", headers={"authorization": word}),
        OidcSettings(issuer="https://idp.example", client_id="us", client_secret=word, client_key=word),
        GithubSettings(client_id="us", client_secret=word),
        StaticClient(id="machine", secret=word),
        Issued("family", word, {}, word, {"access_token": word}),
    )

    assert [each for each in held if word in repr(each)] == []
