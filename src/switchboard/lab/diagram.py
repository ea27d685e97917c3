"""The diagram of a scenario as it happened: the client's requests as arrows to the endpoint and its issuer, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup, escape

from switchboard.lab.hops import Place

DRAWN: Final = 60
"""Hops that are drawn; the list below the diagram has all."""

_ROW, _TOP, _LEFT, _WIDTH = 26, 44, 70, 620
_LINES: Final = {"client": _LEFT, "MCP server": 330, "issuer": 560}
_AT_SERVER: Final = frozenset({Place.MCP.value, Place.RESOURCE_METADATA.value})


def diagram(hops: Sequence[Mapping[str, Any]], broken: int | None) -> Markup:
    """One arrow a hop, from the top down, with what was asked and answered.

    Args:
        hops: as the document of a run has them.
        broken: the number of the hop that broke a rule; its arrow is drawn bold.
    """
    shown = hops[:DRAWN]
    height = _TOP + _ROW * (len(shown) + 1)
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="img" class="flow" aria-label="{}">').format(
            _WIDTH, height, f"The flow: {len(hops)} requests"
        ),
        Markup(
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0L8 4L0 8z" fill="currentColor"/></marker></defs>'
        ),
    ]
    for name, x in _LINES.items():
        parts.append(
            Markup(
                '<text x="{x}" y="18" text-anchor="middle" font-size="14" font-weight="600" fill="currentColor">{name}'
                '</text><path d="M{x} 28V{height}" stroke="currentColor" stroke-opacity=".35" stroke-dasharray="3 3"/>'
            ).format(x=x, name=name, height=height)
        )
    parts += [_arrow(hop, _TOP + _ROW * row, bold=hop["number"] == broken) for row, hop in enumerate(shown, 1)]
    return Markup("").join([*parts, Markup("</svg>")])


def _arrow(hop: Mapping[str, Any], y: int, *, bold: bool) -> Markup:
    end = _LINES["MCP server" if hop["place"] in _AT_SERVER else "issuer"]
    asked = hop["sent"].get("method") if hop["place"] == Place.MCP.value else hop["place"]
    label = f"{hop['number']}. {asked or hop['place']} → {hop['status']}"
    return Markup(
        '<text x="{text}" y="{above}" font-size="12" fill="currentColor"{weight}>{label}</text>'
        '<path d="M{start} {y}H{end}" stroke="currentColor" stroke-width="{width}" marker-end="url(#tip)"/>'
    ).format(
        text=_LEFT + 8,
        above=y - 5,
        weight=Markup(' font-weight="700"') if bold else "",
        label=escape(label[:60]),
        start=_LEFT,
        y=y,
        end=end,
        width=3 if bold else 1.2,
    )
