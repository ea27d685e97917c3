"""What a person may grant: what their groups allow, and administration for administrators alone. Pure.

Clients ask for all that a server offers, and people click on "Allow". So `admin` is nobody's by asking: it takes a
group that the upstream vouches for, or a name in the settings.
"""

from __future__ import annotations

from collections.abc import Collection

from auth_server.connectors import Identity
from auth_server.models import Grant
from auth_server.settings import ADMIN, AuthSettings


def allowed(scope: str, identity: Identity, admins: Collection[str]) -> str:
    """Those of the scopes that this person may grant, in the same order."""

    def may(item: str) -> bool:
        if item == ADMIN and identity.subject in admins:
            return True
        return item != ADMIN if identity.scopes is None else item in identity.scopes

    return " ".join(item for item in scope.split() if may(item))


def held(grant: Grant, settings: AuthSettings) -> list[str]:
    """What a grant still amounts to at refresh: who is no administrator any more does not go on as one.

    Where groups decide, the upstream is asked instead, if it can be.
    """
    keeps = settings.groups_decide or grant.subject in settings.admins
    return [item for item in grant.scope.split() if item != ADMIN or keeps]
