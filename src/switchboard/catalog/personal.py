"""The catalog as each person has it, where a provider offers something else to each: made from the one for all.

Where no provider does, there is nothing here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from operator import is_not
from typing import Final, Protocol

from switchboard.catalog.naming import Naming
from switchboard.catalog.pages import Entry
from switchboard.catalog.snapshot import Catalog, Offer

REMEMBERED: Final = 256
"""People whose catalogs are kept made."""

CONNECT: Final = "connect"
"""What the tool that connects an account is called, after its provider's name."""

Made = tuple[Catalog, tuple[Offer | None, ...], Catalog]
"""The catalog for all, what the person was offered by each such provider, and what came of both."""


class KnownOffers(Protocol):
    """What one provider offers to each person, as last known."""

    def offer_of(self, person: str) -> Offer | None:
        """What the person is offered; `None` if that is not known."""
        ...

    def is_unconnected(self, person: str) -> bool:
        """Whether that is one tool, which has the person connect an account."""
        ...


class PersonalCatalogs:
    """Makes them, and keeps those of the people who were there last.

    Args:
        offers: by provider.
        build: makes a catalog, given what some providers offer in place of what they offer to all.
    """

    def __init__(self, offers: Mapping[str, KnownOffers], build: Callable[[Mapping[str, Offer]], Catalog]) -> None:
        self._offers = offers
        self._build = build
        self._made: OrderedDict[str, Made] = OrderedDict()

    def of(self, person: str, whole: Catalog) -> Catalog:
        """One person's catalog."""
        offers = tuple(each.offer_of(person) for each in self._offers.values())
        made = self._made.get(person)
        if made is None or made[0] is not whole or any(map(is_not, made[1], offers)):
            found = {name: offer for name, offer in zip(self._offers, offers, strict=True) if offer is not None}
            made = self._made[person] = whole, offers, self._build(found) if found else whole
            if len(self._made) > REMEMBERED:
                self._made.popitem(last=False)
        self._made.move_to_end(person)
        return made[2]

    def connecting(self, person: str, exposed: str, naming: Naming, whole: Catalog) -> Entry | None:
        """The tool by which the person connects an account, where a tool of that name may be there afterwards."""
        for name, offers in self._offers.items():
            before = f"{name}{naming.separator}"
            if exposed.startswith(before) and offers.is_unconnected(person):
                return self.of(person, whole).tools.find(f"{before}{CONNECT}")
        return None
