"""Every Redis key of the authorization server, and how long it lives: the one table.

Names hold no token, code or secret: a token is named by its HMAC. Braces are Redis Cluster hash tags: what one script
touches together lives in one slot.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    pattern: str
    holds: str
    lives: str
    """The name of a field of `Lifetimes`, or `-` for as long as its newest member."""


TABLE: dict[str, Row] = {
    "client": Row("auth:client:{id}", "a registered client, its secret as an HMAC", "client"),
    "unused": Row("auth:clients:unused", "registrations without a sign-in yet, by time", "-"),
    "record": Row("auth:{kind}:{mac}", "pending authorizations, logins, browser sessions; sealed", "by kind"),
    "records": Row("auth:records:{kind}", "those that need no sign-in, by expiry, 10,000 at most of a kind", "-"),
    "family": Row("auth:family:{{{family}}}", "one authorization: its code, its refresh token, sealed", "refresh"),
    "access": Row("auth:access:{{{family}}}:{mac}", "an access token's claims, sealed under the token", "access"),
    "grace": Row("auth:grace:{{{family}}}:{mac}", "the successor of a rotated refresh token, sealed under it", "grace"),
    "renewing": Row("auth:renewing:{{{family}}}", "that a family is being renewed now", "some seconds"),
    "index": Row("auth:index:{by}:{mac}", "families of a user, of a client, or all, by expiry", "-"),
    "cut": Row("auth:cut:{by}:{mac}", "a mark: authorizations begun before it are revoked", "family"),
    "once": Row("auth:once:{purpose}:{mac}", "an assertion id that was used", "as the assertion"),
    "fetched": Row("auth:fetched:{kind}:{mac}", "documents and key sets of one host, eight at most", "a day"),
    "hosts": Row("auth:fetched:{kind}", "those hosts by when they were written, 1,000 at most", "a day"),
    "rate": Row("auth:rate:{limit}:{mac}", "when the permits of a rate limit are all back", "as the window"),
    "audit": Row("auth:audit", "the last authorization events", "the newest 10,000"),
    "signing": Row("auth:signing-keys", "key pairs that sign JWTs, sealed", "until rotated out"),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """Names keys by the table, under an optional prefix for shared Redis servers."""

    prefix: str = ""

    def name(self, row: str, **parts: str) -> str:
        """The key of `row`, its placeholders filled."""
        return self.prefix + TABLE[row].pattern.format(**parts)
