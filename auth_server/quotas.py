"""How many requests are allowed, of which kind and from whom: a table. Pure.

Addresses are real ones (only trusted proxies are believed); they are limited generously, since offices sit behind one.
A public client's id is no secret, so it is counted with the address that uses it: nobody else can use up its quota.
Clients that authenticate, and people, are counted wherever they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from switchboard.common.quota import Quota

Name = Literal[
    "register", "manage", "authorize", "login", "token", "introspect", "guess", "client", "public client", "person"
]


_TABLE: Final[Mapping[Name, tuple[int, int]]] = {
    # by address
    "register": (300, 3_600),
    "manage": (300, 60),
    "authorize": (300, 60),
    "login": (300, 60),
    "token": (1_200, 60),
    "introspect": (30_000, 60),
    "guess": (120, 60),  # credentials of a client that were wrong
    # by client: what it asks for itself, and what is asked in its name
    "client": (6_000, 60),
    "public client": (600, 60),
    # by principal: sign-ins and new tokens
    "person": (600, 60),
}
"""Requests, in so many seconds."""

QUOTAS: Final[Mapping[Name, Quota]] = {name: Quota(name, *row) for name, row in _TABLE.items()}
