"""The matrix as docs/gateway.md shows it, between two markers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tools.matrix.diary import NORTHS, SOUTHS
from tools.matrix.features import FEATURES, Feature

BEGIN = "<!-- matrix: written by `make matrix`, compared by every run of the tests -->"
END = "<!-- end of the matrix -->"

Cell = tuple[str, str, str]
"""Feature, north, south."""


def table(cells: Mapping[Cell, str]) -> str:
    """The table and its notes, from the cells whose tests have passed."""
    holes = list(dict.fromkeys(hole for one in FEATURES for hole in (one.modern, one.handshake) if hole is not None))
    notes = [f"{number}. “{hole.sentence}” ([2026-07-28]({hole.where}))" for number, hole in enumerate(holes, 1)]
    rows = [["feature", *(south.title for south in SOUTHS)]]
    for feature in FEATURES:
        marks = [_marks(cells, feature, south.name) for south in SOUTHS]
        found = (feature.hole(modern=south.modern) for south in SOUTHS)
        rows.append(
            [
                feature.title,
                *(
                    f"[{holes.index(hole) + 1}]" if hole is not None and mark else mark
                    for hole, mark in zip(found, marks, strict=True)
                ),
            ]
        )
    legend = ", ".join(f"**{north.mark}** {north.title}" for north in NORTHS)
    return "\n".join([f"Clients: {legend}.", "", *_aligned(rows), "", *notes])


def _marks(cells: Mapping[Cell, str], feature: Feature, south: str) -> str:
    return " ".join(north.mark for north in NORTHS if (feature.title, north.name, south) in cells)


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
