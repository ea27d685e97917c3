"""How many requests are allowed, of which kind and from whom: a table. Pure.

Addresses are real ones (only trusted proxies are believed); they are limited generously, since offices sit behind one.
A public client's id is no secret, so it is counted with the address that uses it: nobody else can use up its quota.
Clients that authenticate, and people, are counted wherever they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Name = Literal[
    "register", "manage", "authorize", "login", "token", "introspect", "guess", "client", "public client", "person"
]


@dataclass(frozen=True, slots=True)
class Quota:
    """`count` requests in `window` seconds."""

    count: int
    window: int


QUOTAS: Mapping[Name, Quota] = {
    # by address
    "register": Quota(300, 3_600),
    "manage": Quota(300, 60),
    "authorize": Quota(300, 60),
    "login": Quota(300, 60),
    "token": Quota(1_200, 60),
    "introspect": Quota(30_000, 60),
    "guess": Quota(120, 60),  # credentials of a client that were wrong
    # by client: what it asks for itself, and what is asked in its name
    "client": Quota(6_000, 60),
    "public client": Quota(600, 60),
    # by principal: sign-ins and new tokens
    "person": Quota(600, 60),
}
