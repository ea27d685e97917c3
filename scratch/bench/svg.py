"""Plots as SVG: bars in groups, and lines. Plain enough to be read as text, and to be committed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Final

WIDTH, LEFT, RIGHT, BAR, GAP = 760, 250, 90, 16, 12
OURS, OTHER, INK, GRID = "#1f6feb", "#9aa4b1", "#24292f", "#d8dee4"
LINES: Final = ("#1f6feb", "#d29922", "#2da44e", "#cf222e", "#8250df")


def bars(title: str, groups: Mapping[str, Sequence[tuple[str, float]]], unit: str, *, log: bool = False) -> str:
    """Bars from the left, ours in colour; with `log` each tenfold takes the same length."""
    values = [value for group in groups.values() for _, value in group if value > 0]
    most, least = max(values, default=1.0), min(values, default=1.0)
    floor = 10 ** math.floor(math.log10(least)) / 2 if log else 0.0
    room = WIDTH - LEFT - RIGHT

    def length(value: float) -> float:
        if not log:
            return room * value / most
        return room * (math.log(value) - math.log(floor)) / (math.log(most) - math.log(floor)) if value > 0 else 0.0

    y, parts = (
        34.0,
        [_text(8, 18, title + (f", {unit}" if unit else "") + (" (logarithmic)" if log else ""), bold=True)],
    )
    for name, group in groups.items():
        parts.append(_text(8, y + 12, name, bold=True))
        y += 20
        for label, value in group:
            colour = OURS if label.startswith("Switchboard") else OTHER
            parts.append(_text(LEFT - 8, y + 12, label, end=True))
            parts.append(
                f'<rect x="{LEFT}" y="{y:.0f}" width="{length(value):.1f}" height="{BAR - 3}" fill="{colour}"/>'
            )
            parts.append(_text(LEFT + length(value) + 6, y + 12, f"{value:,.0f}" if value >= 100 else f"{value:.3g}"))
            y += BAR
        y += GAP
    return _page(parts, y)


def lines(title: str, x: str, y: str, curves: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Curves through points, on two logarithmic axes."""
    points = [point for curve in curves.values() for point in curve]
    lows = [10 ** math.floor(math.log10(min(point[axis] for point in points))) for axis in (0, 1)]
    highs = [10 ** math.ceil(math.log10(max(point[axis] for point in points))) for axis in (0, 1)]
    height = 360
    box = (84.0, 40.0, WIDTH - 200.0, height - 50.0)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        shares = [
            (math.log10(point[axis]) - math.log10(lows[axis])) / math.log10(highs[axis] / lows[axis]) for axis in (0, 1)
        ]
        return box[0] + shares[0] * (box[2] - box[0]), box[3] - shares[1] * (box[3] - box[1])

    parts = [_text(8, 18, title, bold=True), _text((box[0] + box[2]) / 2, height - 8, x), _text(8, 34, y)]
    for axis in (0, 1):
        for power in range(round(math.log10(lows[axis])), round(math.log10(highs[axis])) + 1):
            value = 10.0**power
            at = place((value, float(lows[1])) if axis == 0 else (float(lows[0]), value))
            a, b, c, d = (at[0], box[1], at[0], box[3]) if axis == 0 else (box[0], at[1], box[2], at[1])
            parts.append(f'<line x1="{a:.0f}" y1="{b:.0f}" x2="{c:.0f}" y2="{d:.0f}" stroke="{GRID}"/>')
            label = f"{value:,.0f}" if value >= 1 else f"{value:g}"
            parts.append(
                _text(at[0], box[3] + 16, label) if axis == 0 else _text(box[0] - 6, at[1] + 4, label, end=True)
            )
    for number, (name, curve) in enumerate(curves.items()):
        colour = LINES[number % len(LINES)]
        drawn = " ".join(f"{a:.1f},{b:.1f}" for a, b in map(place, curve))
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in map(place, curve)]
        parts.append(_text(box[2] + 14, box[1] + 14 + number * 18, name, colour=colour))
    return _page(parts, height)


def _text(x: float, y: float, text: str, *, bold: bool = False, end: bool = False, colour: str = INK) -> str:
    more = (' font-weight="600"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}"{more}>{escape(text)}</text>'


def _page(parts: Sequence[str], height: float) -> str:
    size = f'width="{WIDTH}" height="{height:.0f}" viewBox="0 0 {WIDTH} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    return "\n".join([head, f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>', *parts, "</svg>", ""])
