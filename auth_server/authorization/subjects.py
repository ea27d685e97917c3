"""What people and machines are called in tokens: namespaces that cannot meet. Pure.

| who | subject |
|---|---|
| a machine | `client:` and its client id |
| somebody of another provider | that provider's issuer, `#`, and what it calls them |
| somebody whom the upstream signed in | what the upstream calls them, which begins like none of the others |

An upstream's name that would read as one of the others is refused, and so is one that is too long or has characters
that are not seen: two people must not look alike to whoever reads the log or writes ADMINS.
"""

from __future__ import annotations

from collections.abc import Sequence

from auth_server.settings import TrustedIssuer
from switchboard import visible

MACHINE = "client:"
LONGEST = 255
"""Characters of what a provider calls somebody (OpenID Connect Core §2)."""


class InvalidSubject(ValueError):
    """A provider's name for somebody that cannot be taken."""


def of_machine(client_id: str) -> str:
    """The subject of a client that speaks for itself."""
    return f"{MACHINE}{client_id}"


def of_person(name: object, others: Sequence[TrustedIssuer] = ()) -> str:
    """The subject of somebody whom the upstream signed in.

    Raises:
        NoSubject: it is none, or it reads as a machine's or as one of another provider's people.
    """
    found = _checked(name)
    if found.startswith((MACHINE, *(f"{trusted.issuer}#" for trusted in others))):
        raise InvalidSubject("the subject belongs to somebody else")
    return found


def of_asserted(name: object, trusted: TrustedIssuer, all_trusted: Sequence[TrustedIssuer]) -> str:
    """The subject of somebody whom a trusted issuer vouches for.

    Raises:
        NoSubject: as for `of_person`.
    """
    return of_person(name, all_trusted) if trusted.same_people else f"{trusted.issuer}#{_checked(name)}"


def _checked(name: object) -> str:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST:
        raise InvalidSubject(f"a subject is a text of 1 to {LONGEST} characters")
    if not name.isprintable() or visible.text(name) != name or name != name.strip():
        raise InvalidSubject("the subject has characters that are not seen")
    return name
