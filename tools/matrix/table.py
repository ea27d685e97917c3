"""The matrix as docs/gateway.md shows it, between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.matrix.diary import BACKEND_SIDES, CLIENT_SIDES
from tools.matrix.features import FEATURES, Feature

BEGIN = "<!-- matrix: written by `make matrix`, compared by every run of the tests -->"
END = "<!-- end of the matrix -->"

Cell = tuple[str, str, str]
"""Feature, client_side, backend_side."""


def table(cells: Mapping[Cell, str]) -> str:
    """The table and its notes, from the cells whose tests have passed."""
    holes = list(dict.fromkeys(hole for one in FEATURES for hole in (one.modern, one.handshake) if hole is not None))
    notes = [f"{number}. “{hole.sentence}” ([2026-07-28]({hole.where}))" for number, hole in enumerate(holes, 1)]
    rows = [["feature", *(backend_side.title for backend_side in BACKEND_SIDES)]]
    for feature in FEATURES:
        marks = [_marks(cells, feature, backend_side.name) for backend_side in BACKEND_SIDES]
        found = (feature.hole(modern=backend_side.modern) for backend_side in BACKEND_SIDES)
        rows.append(
            [
                feature.title,
                *(
                    f"[{holes.index(hole) + 1}]" if hole is not None and mark else mark
                    for hole, mark in zip(found, marks, strict=True)
                ),
            ]
        )
    legend = ", ".join(f"**{client_side.mark}** {client_side.title}" for client_side in CLIENT_SIDES)
    return "\n".join([f"Clients: {legend}.", "", *_aligned(rows), "", *notes])


def _marks(cells: Mapping[Cell, str], feature: Feature, backend_side: str) -> str:
    return " ".join(
        client_side.mark for client_side in CLIENT_SIDES if (feature.title, client_side.name, backend_side) in cells
    )


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [lines[0], rule, *lines[1:]]


def written(page: Path) -> str:
    """What stands between the markers now."""
    return page.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write(page: Path, text: str) -> None:
    """Put it between the markers."""
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
