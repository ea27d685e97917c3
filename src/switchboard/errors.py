"""The tree of what can go wrong between rooms. A leaf: imports nothing of Switchboard.

SwitchboardError
├── ConfigurationError        start-up ends with its message: the variable, what it looks like, what is allowed
│   └── PluginFailure         a plugin's own code failed: it is left out and reported, and the others go on
├── StateUnavailable          Redis is away: 503 with Retry-After
│   ├── StateBusy             Redis is there, but all our connections to it are in use: likewise, naming the setting
│   └── VaultUnavailable      the vault's store, where it is not Redis, is away: likewise, naming the store
├── AuthorizationUnavailable  the issuer cannot be asked: 503 with Retry-After
├── CredentialUnavailable     a backend cannot be authorized at: says what went wrong and what to do
│   └── NotConnected          this person has to connect, or to connect again
├── SessionGone               the session ended, expired, or belongs to someone else: 404
└── TooMany                   a limit is reached: 429 with Retry-After, naming the limit
"""

from __future__ import annotations

import re
from typing import Final


class SwitchboardError(Exception):
    """Base of every error that Switchboard raises on purpose."""


class ConfigurationError(SwitchboardError):
    """A setting is wrong; the message names it, says what it looks like (never a secret) and what is allowed."""


class PluginFailure(ConfigurationError):
    """The code of a plugin cannot be imported, made, started or run; the message names the plugin and the reason."""


class StateUnavailable(SwitchboardError):
    """Redis cannot be reached now."""

    event = "redis.away"
    """What a log calls it."""


class StateBusy(StateUnavailable):
    """No connection to Redis came free in time; the message is meant for the client too, and names the setting."""

    event = "redis.busy"


class VaultUnavailable(StateUnavailable):
    """The store of the vault, which is not Redis, cannot be asked now; the message names it, and holds no secret."""

    event = "vault.away"


_LINK: Final = re.compile(r"\s*For (?:more|further) information,? (?:check|visit|see):?\s*\S+", re.IGNORECASE)


def without_links(text: str) -> str:
    """A text for people, without where the library that wrote it is documented."""
    return _LINK.sub("", text)


def plainly(error: BaseException) -> str:
    """What an error says, on one line, without where its library is documented."""
    return " ".join(without_links(str(error)).split()) or type(error).__name__


class AuthorizationUnavailable(SwitchboardError):
    """The authorization server, or the store behind it, cannot be asked now."""


class CredentialUnavailable(SwitchboardError):
    """There is no credential for a backend or plugin now. The message is for the person: what is wrong, what to do.

    Args:
        retry: whether the same call may succeed in a moment, without anybody doing anything.
    """

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class NotConnected(CredentialUnavailable):
    """This person has allowed nothing yet, or what they allowed is no longer good: they are asked to connect.

    Args:
        person: the JSON array `[issuer, subject]`.
        name: the backend or plugin, as it stands in the address of its connect page.
    """

    def __init__(self, person: str, name: str, reason: str) -> None:
        super().__init__(reason)
        self.person = person
        self.name = name


class TooMany(SwitchboardError):
    """A limit is reached; the message names what there is too much of, how much is allowed, and the setting."""

    def __init__(self, what: str, limit: int, setting: str) -> None:
        super().__init__(f"Too many {what}: {limit} are allowed ({setting})")


class SessionGone(SwitchboardError):
    """The session does not exist any more (or never did, for this principal).

    Args:
        sid: what the client called it, which may be anything: only its beginning goes into the message, and so the log.
    """

    def __init__(self, sid: str) -> None:
        super().__init__(f"There is no session {sid[:8]!a}")
