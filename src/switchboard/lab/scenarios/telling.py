"""What a tester tells the client in a scenario: who it is, whom it knows, and when to call again.

A client that is started by `switchboard lab run` finds each as `LAB_…` in its environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from switchboard.lab.rules.sending import GIVEN_CLIENT, GIVEN_SECRET
from switchboard.lab.scenarios.model import Scenario

DOCUMENT: Final = "https://client.example/document.json"
"""The URL of a client's metadata document; the lab does not fetch it."""

SHORT_S: Final = 120
"""A token that lives no longer than this is waited for to end."""

VERY_SHORT_S: Final = 10
"""And one that lives no longer than this, twice."""

_WITH_SECRET: Final = {"client_id": GIVEN_CLIENT, "client_secret": GIVEN_SECRET, "issuer": "{issuer}"}
TOLD: Final[Mapping[str, Mapping[str, str]]] = {
    "given-client": {"client_id": GIVEN_CLIENT, "issuer": "{issuer}"},
    "client-document": {"client_document": DOCUMENT},
    "machine": {**_WITH_SECRET, "grant": "client_credentials"},
    "enterprise-managed": {**_WITH_SECRET, "identity_provider": "{issuer}/idp"},
    "revoked-in-stream": {"protocol_version": "2025-11-25"},
}
"""By scenario; `{issuer}` is its issuer."""


def told(scenario: Scenario, issuer: str) -> Mapping[str, str]:
    """All of it, as texts.

    `client_id`, `client_secret` and `issuer`: who the client is, and whose client; `grant`, where it is to be another
    one than authorization_code; `client_document`: the URL of its document; `identity_provider`: the company's issuer;
    `protocol_version`: the newest that it is to speak; `pauses`: the seconds after which it is to call once more, with
    commas between, where tokens are short.
    """
    found = {name: text.replace("{issuer}", issuer) for name, text in TOLD.get(scenario.name, {}).items()}
    lives = scenario.behaviour.answers.token_seconds
    if lives > SHORT_S:
        return found
    return {**found, "pauses": ",".join([str(lives + 2)] * (2 if lives <= VERY_SHORT_S else 1))}
