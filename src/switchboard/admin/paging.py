"""Pages of lists: a cursor says after which item to go on, so that nothing is shown twice when a list changes."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Annotated, Final, Generic, Self, TypeVar

from fastapi import Query
from pydantic import BaseModel
from pydantic_core import to_json

from switchboard.admin.problems import Mistake
from switchboard.common.problem_details import Problem
from switchboard.common.sealing import b64

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=500, description="Items of a page.")]
Cursor = Annotated[str, Query(max_length=1024, description="`next_cursor` of the page before.")]


LARGEST: Final = 300_000
"""Bytes of a page's items as JSON, unless its first is longer."""


class Page(BaseModel, Generic[Item]):
    """One page."""

    items: list[Item]
    next_cursor: str | None = None
    """Of the next page; none on the last one."""
    total: int
    """Items of all pages."""

    def held(self, place: Callable[[Item], str]) -> Self:
        """The page, ended before the item with which it would pass `LARGEST`.

        Args:
            place: the name of an item, after which the next page begins.
        """
        size = 0
        for index, item in enumerate(self.items):
            size += len(to_json(item)) + 1
            if size > LARGEST and index:
                cursor = encoded(place(self.items[index - 1]))
                return self.model_copy(update={"items": self.items[:index], "next_cursor": cursor})
        return self


def cut(names: Sequence[str], cursor: str, limit: int) -> tuple[Sequence[str], str | None]:
    """Of sorted names those of one page, and the cursor of the next.

    Raises:
        Problem: 422, the cursor is none of ours.
    """
    start = bisect_right(names, decoded(cursor)) if cursor else 0
    shown = names[start : start + limit]
    return shown, encoded(shown[-1]) if start + limit < len(names) else None


def encoded(name: str) -> str:
    """A name as a cursor, or as a part of a path."""
    return b64(name.encode("utf-8", "surrogatepass"))


def decoded(cursor: str) -> str:
    """The reverse of `encoded`.

    Raises:
        Problem: 422, it is none of ours.
    """
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        mistake = Mistake(where="query.cursor", reason="not one that a page gave as next_cursor")
        raise Problem(422, "the cursor is not valid", mistakes=[mistake]) from error
