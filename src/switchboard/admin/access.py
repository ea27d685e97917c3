"""Who may use the API: a token with `admin` for everything, one with `admin:read` to look."""

from __future__ import annotations

from fastapi import Request

from switchboard.admin.administration import READ, WRITE, Administration
from switchboard.common.problem_details import Problem
from switchboard.identity import current

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """A dependency of every route: refuses who lacks the scope for the method."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    async def __call__(self, request: Request) -> None:
        """See the class.

        Raises:
            Problem: 403, naming the scope.
        """
        needed = READ if request.method in SAFE else WRITE
        if self._administration.allows(current().principal, needed):
            return
        challenge = request.scope.get("state", {}).get("challenge")
        headers = {} if challenge is None else {"WWW-Authenticate": challenge.insufficient({needed}).decode("ascii")}
        raise Problem(403, f"this needs a token with the scope {needed}", headers=headers)


def who() -> str:
    """The person behind the request, for the audit log."""
    return current().principal.person
