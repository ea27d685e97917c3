"""What exists: immutable snapshots of everything offered, with names resolved.

Owns naming and collisions (`naming`), cursors and pages (`pages`), what configuration makes of an offer (`shaping`),
the snapshot with its digest (`snapshot`), the part of it that a URL asks for (`selection`), finding tools (`search`).
Pure: takes what providers offer, gives a `Catalog`; never awaits, never calls a provider, keeps no state.

May import: plugins, config, leaves.
Never imports: sessions, gateway, anyio, asyncio.
"""

from switchboard.catalog.naming import Naming, Rejection
from switchboard.catalog.pages import Entry, InvalidCursor, Listing
from switchboard.catalog.selection import Selection, UnknownSelection, Wish, resolved, select, wish
from switchboard.catalog.shaping import Shape, shapes
from switchboard.catalog.snapshot import Catalog, Offer, build

__all__ = [
    "Catalog",
    "Entry",
    "InvalidCursor",
    "Listing",
    "Naming",
    "Offer",
    "Rejection",
    "Selection",
    "Shape",
    "UnknownSelection",
    "Wish",
    "build",
    "resolved",
    "select",
    "shapes",
    "wish",
]
