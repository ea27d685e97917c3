"""What a person can connect to: the backends and plugins that use credentials of the person who calls.

One registry for each worker, kept by the composition root. Backends and plugins put themselves in when they are
configured, and are taken out when they go, so it follows every reload of the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from switchboard.errors import ConfigurationError

LONGEST_VALUE: Final = 8192
"""Characters of one field."""


class AccountStatus(Protocol):
    """What a person may know of their account; never a token."""

    @property
    def state(self) -> Literal["connected", "expired", "reauthorization_needed", "not_connected"]: ...
    @property
    def scopes(self) -> tuple[str, ...]: ...
    @property
    def expires_at(self) -> float | None: ...
    @property
    def reason(self) -> str: ...


class Accounts(Protocol):
    """People's accounts at the OAuth provider of one backend or plugin."""

    async def begin(self, person: str, *, redirect_uri: str) -> tuple[str, Mapping[str, Any]]:
        """Where to send the person, and what to keep until they come back; it has the `state` that they come with."""
        ...

    async def finish(self, person: str, params: Mapping[str, str], kept: Mapping[str, Any]) -> object:
        """Store what the provider gives for the parameters that the person came back with."""
        ...

    async def revoke(self, person: str, *, who: str | None = None) -> str:
        """End the account, at the provider too; what the person should know when it could not be told, or nothing.

        Args:
            who: ends it, where it is not the person.
        """
        ...

    async def status(self, person: str) -> AccountStatus:
        """How the account stands."""
        ...


@dataclass(frozen=True, slots=True)
class CredentialField:
    """Something that a person types to connect: an API key, a user name, the address of their own server.

    It is a vault record of the backend's or plugin's namespace, with this name and the person as its owner, whose value
    is `{"value": text}`.
    """

    name: str
    label: str = ""
    type: Literal["string", "password", "url"] = "password"
    required: bool = True
    description: str = ""
    pattern: str = ""
    """A regular expression that the whole text must match, in the syntax that Python and browsers share."""

    def problem(self, text: str) -> str:
        """What is wrong with a text that is not empty, without repeating it; or nothing."""
        if len(text) > LONGEST_VALUE:
            return f"has more than {LONGEST_VALUE} characters"
        if any(not each.isprintable() for each in text):
            return "has a line break or another character that cannot be seen"
        if self.type == "url" and not _URL.fullmatch(text):
            return "is not a web address, of https or http"
        if self.pattern and not re.fullmatch(self.pattern, text):
            return "does not have the form that is asked for" + (f": {self.description}" if self.description else "")
        return ""


_URL: Final = re.compile(r"https?://[^\s/?#@]+([/?#]\S*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Connectable:
    """A backend or plugin that a person has credentials of their own for.

    Args:
        id: its name in addresses: the server's, or the plugin's.
        namespace: whose vault records it uses, `server:NAME` or `plugin:NAME`.
        title, description: for the person.
        scopes: what it asks the provider for.
        accounts: people's accounts at its OAuth provider, if it has one.
        fields: what a person types instead, or besides.
    """

    id: str
    namespace: str
    title: str = ""
    description: str = ""
    scopes: tuple[str, ...] = ()
    accounts: Accounts | None = None
    fields: tuple[CredentialField, ...] = ()

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.title or self.id


class Connectables:
    """What can be connected to now, by id."""

    def __init__(self) -> None:
        self._found: dict[str, Connectable] = {}

    def put(self, connectable: Connectable) -> None:
        """Add it, or replace what its namespace had.

        Raises:
            ConfigurationError: a server and a plugin have the same name, which addresses could not tell apart.
        """
        there = self._found.get(connectable.id)
        if there is not None and there.namespace != connectable.namespace:
            raise ConfigurationError(
                f"{there.namespace} and {connectable.namespace} both have accounts of people under one name: rename one"
            )
        self._found[connectable.id] = connectable

    def remove(self, namespace: str) -> None:
        """Take out what a server or plugin had; what people stored stays where it is."""
        self._found = {name: each for name, each in self._found.items() if each.namespace != namespace}

    def find(self, name: str) -> Connectable | None:
        """The one with this id."""
        return self._found.get(name)

    def __iter__(self) -> Iterator[Connectable]:
        return iter(sorted(self._found.values(), key=lambda each: (each.name.casefold(), each.id)))
