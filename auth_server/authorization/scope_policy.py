"""Which scopes are granted: those that exist and are held, and of these what the person may grant. Pure.

Clients ask for all that a server offers, and people click on "Allow". So `admin` and `admin:read` are
not granted for the asking: they take a group at the identity provider, or a subject in the settings.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from auth_server.errors import Refusal
from auth_server.models import Grant, Identity
from auth_server.scopes import ADMIN_SCOPES, OPENID, well_formed


def granted(requested: str, held: Sequence[str], default: str, known: Sequence[str]) -> str:
    """The scopes to grant, in the order of `held`.

    What does not exist here is left out (RFC 6749 §3.3), and the answer says what was granted: clients ask every server
    for `openid profile email`, and whether they get a refresh token depends on their registration. A scope that exists
    and is not held is refused, and so is a request of which nothing is left.
    """
    wanted = set(requested.split(" ")) - {"", *OPENID} or set(default.split())
    if not all(map(well_formed, wanted)):
        raise Refusal("invalid_scope", "the scope is not well-formed")
    existing = wanted & {*known, *held}
    if not existing <= set(held):
        raise Refusal("invalid_scope", "a requested scope cannot be granted here")
    if not existing:
        raise Refusal("invalid_scope", "there is no scope that could be granted")
    return " ".join(scope for scope in held if scope in existing)


def allowed(scope: str, identity: Identity, admins: Collection[str]) -> str:
    """Those of the scopes that this person may grant, in the same order."""

    def may(item: str) -> bool:
        if item in ADMIN_SCOPES and identity.subject in admins:
            return True
        return item not in ADMIN_SCOPES if identity.scopes is None else item in identity.scopes

    return " ".join(item for item in scope.split() if may(item))


def held(grant: Grant, *, groups_decide: bool, admins: Collection[str]) -> list[str]:
    """The scopes that a grant still has at refresh: those of operators go with the role.

    Where groups decide (`groups_decide`), the identity provider is asked instead, if it can be.
    """
    keeps = groups_decide or grant.subject in admins
    return [item for item in grant.scope.split() if item not in ADMIN_SCOPES or keeps]
