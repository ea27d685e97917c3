"""Changes of the configuration through the fleet's overlay: checked before they come into force, and against whoever
changed the same thing meanwhile.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Annotated, Final

from fastapi import Header

from switchboard.admin.access import who
from switchboard.admin.administration import Administration
from switchboard.common.problem_details import Problem
from switchboard.config.layers import Place, value_at
from switchboard.config.overlay import Check, Layered, Overlay
from switchboard.config.watching import Written
from switchboard.errors import ConfigurationError, SwitchboardError

IfMatch = Annotated[
    str | None, Header(description="The ETag that was seen. It is needed to change or remove what is there.")
]

Row = tuple[str, str]
"""The place of a row: its section, and its name there."""

ABSENT: Final = '"absent"'
"""The entity tag of what is not there."""


class Changes:
    """Reads and changes places of the configuration."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration
        self.overlay = Overlay(administration.state)
        self._tag_key = administration.tag_key

    async def written(self) -> Written:
        """What is written now."""
        return self.under(await self.overlay.read())

    def under(self, layered: Layered) -> Written:
        """What is written, under an overlay."""
        return self._administration.watched.under(layered)

    def tag(self, written: Written, place: Place) -> str:
        """The entity tag of what is written at a place."""
        found = value_at(written.document, place)
        if found is ...:
            return ABSENT
        text = json.dumps(found, sort_keys=True, separators=(",", ":"), default=str)
        return f'"{hmac.digest(self._tag_key, text.encode(), hashlib.sha256).hex()[:16]}"'

    async def make(
        self,
        place: Place,
        seen: str | None,
        change: Callable[[Check], Awaitable[Layered]],
        event: str,
        what: str,
        rows: Sequence[str] = (),
    ) -> tuple[Layered, Written]:
        """Make a change of what stands at `place`: the overlay then, and what is written under it.

        Args:
            seen: the entity tag that the caller saw; not needed for what is not there.
            change: makes it, given what checks it.
            rows: what it is made of, with an entry of the audit log for each; one for `what` if there are none.

        Raises:
            Problem: 428, no tag was given; 412, something else is there now; 422, the result would not be valid.
        """

        made: list[Written] = []

        def check(before: Layered, after: Layered) -> None:
            earlier = self.under(before)
            now = self.tag(earlier, place)
            if seen is None and now != ABSENT:
                raise Problem(428, f"{what} is there: say in If-Match which state of it you saw", headers={"ETag": now})
            if seen is not None and seen != now:
                current = value_at(earlier.shown, place)
                changed = "was changed meanwhile" if now != ABSENT else "is not there any more"
                raise Problem(
                    412, f"{what} {changed}", current=None if current is ... else current, headers={"ETag": now}
                )
            made[:] = [self.check(earlier, after)]

        outcome = "ok"
        try:
            layered = await change(check)
        except (Problem, SwitchboardError) as error:
            outcome = str(error)
            raise
        finally:
            for each in rows or (what,):
                self._administration.audit.record(event, who=who(), what=each, outcome=outcome)
        return layered, made[0]

    async def switch(self, before: Written, place: Row, event: str, *, enabled: bool) -> Written:
        """Switch the row at `place` on or off; what is written then.

        Args:
            before: what the caller saw; 412 if the row is another by now.
        """
        section, name = place
        change = partial(self.overlay.change, {section: {name: {"enabled": enabled}}}, who=who())
        _, written = await self.make(place, self.tag(before, place), change, event, name)
        return written

    async def switch_all(
        self, before: Written, section: str, names: Sequence[str], event: str, *, enabled: bool
    ) -> Written:
        """As `switch`, several rows of a section in one revision: all of them, or none."""
        change = partial(self.overlay.change, {section: {name: {"enabled": enabled} for name in names}}, who=who())
        _, written = await self.make((section,), self.tag(before, (section,)), change, event, section, names)
        return written

    async def remove(self, place: Row, seen: str | None, event: str) -> None:
        """Take away the row at `place`, whichever layer states it."""
        section, name = place
        if value_at(self.under(Layered()).document, place) is ...:  # only the overlay speaks of it
            change = partial(self.overlay.forget, place, who=who())
        else:
            change = partial(self.overlay.change, {section: {name: None}}, who=who())
        await self.make(place, seen, change, event, name)

    def check(self, before: Written, after: Layered) -> Written:
        """Refuse an overlay that would break something that is not broken now; what would be written under it.

        Raises:
            ConfigurationError: with a line for each mistake.
        """
        earlier, written = before.configuration, self.under(after)
        broken = written.configuration.broken
        wrong = [row.reason for name, row in broken.items() if earlier.broken.get(name) != row]
        if wrong:
            raise ConfigurationError("\n".join(wrong))
        return written
