"""A person signed in at this server itself, to look after what they granted: a cookie, and a record in Redis.

Never a substitute for consent: the authorization endpoint does not look at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from auth_server.models import GrantOwner, Identity
from auth_server.settings import AuthSettings
from auth_server.store import Records, Revocation

KIND = "session"


@dataclass(frozen=True, slots=True)
class Session:
    """Who is signed in, and by which cookie."""

    subject: str
    secret: str = field(repr=False)


class Sessions:
    """Begins, finds and ends sessions."""

    def __init__(self, settings: AuthSettings, records: Records, revocation: Revocation) -> None:
        self._secure = settings.secure
        self._name = settings.cookie("auth-session")
        self._lives = settings.lifetimes.session
        self._records = records
        self._revocation = revocation

    async def begin(self, response: Response, identity: Identity) -> None:
        """Sign a person in."""
        who = GrantOwner(identity.subject, "", identity.aliases)
        kept = {"subject": who.subject, "aliases": who.aliases, "cuts": await self._revocation.cuts(who)}
        secret = await self._records.put(KIND, kept, self._lives)
        response.set_cookie(
            self._name, secret, max_age=int(self._lives), path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    async def find(self, request: Request) -> Session | None:
        """Who sent this request; revoking everything of a person ends their sessions too."""
        secret = request.cookies.get(self._name, "")
        kept = await self._records.read(KIND, secret) if secret else None
        if kept is None:
            return None
        who = GrantOwner(kept["subject"], "", tuple(kept["aliases"]))
        return Session(who.subject, secret) if await self._revocation.stands(who, kept["cuts"]) else None

    async def end(self, response: Response, session: Session) -> None:
        """Sign a person out."""
        await self._records.take(KIND, session.secret)
        response.delete_cookie(self._name, path="/", secure=self._secure, httponly=True, samesite="lax")
