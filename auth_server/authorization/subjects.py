"""The subjects of people and machines in tokens, in namespaces that do not overlap. Pure.

| who | subject |
|---|---|
| a machine | `client:` and its client id |
| a person of a trusted issuer | that issuer, `#`, and what it calls them |
| a person signed in here | what the identity provider calls them, which begins like none of the others |

A name that would read as one of the others is refused, and so is one that is too long or has invisible characters:
two people must not look alike in the log and in ADMINS.
"""

from __future__ import annotations

from collections.abc import Sequence

from auth_server.settings import TrustedIssuer
from switchboard.common import visible_text

MACHINE = "client:"
LONGEST = 255
"""Characters of a provider's subject (OpenID Connect Core §2)."""


class InvalidSubject(ValueError):
    """A provider's name for a person that cannot be used as a subject."""


def of_machine(client_id: str) -> str:
    """The subject of a client that speaks for itself."""
    return f"{MACHINE}{client_id}"


def of_person(name: object, others: Sequence[TrustedIssuer] = ()) -> str:
    """The subject of a person whom the identity provider signed in.

    Raises:
        NoSubject: it is none, or it reads as a machine's or as one of another provider's people.
    """
    found = _checked(name)
    if found.startswith((MACHINE, *(f"{trusted.issuer}#" for trusted in others))):
        raise InvalidSubject("the subject is in the namespace of another issuer or of machines")
    return found


def of_asserted(name: object, trusted: TrustedIssuer, all_trusted: Sequence[TrustedIssuer]) -> str:
    """The subject of a person in a trusted issuer's assertion.

    Raises:
        NoSubject: as for `of_person`.
    """
    return of_person(name, all_trusted) if trusted.same_people else f"{trusted.issuer}#{_checked(name)}"


def _checked(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise InvalidSubject(f"a subject is a text of 1 to {LONGEST} characters")
    if not name.isprintable() or visible_text.text(name) != name or name != name.strip():
        raise InvalidSubject("the subject has invisible characters")
    return name
