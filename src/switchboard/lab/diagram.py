"""The flow of a scenario as it happened, as SVG: who asked whom, in order, with what was answered.

The browser asks where the client sent a person to sign in, and is led back to the client from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from switchboard.lab.hops import Place

DRAWN: Final = 60
"""Hops that are drawn; the list below the diagram has all."""

_WIDTH, _TOP, _ROW = 370, 36, 27
_BROWSER, _CLIENT, _RESOURCE, _ISSUER = 32, 112, 226, 330
_LANES: Final = {
    _BROWSER: ("", "browser"),
    _CLIENT: ("", "client"),
    _RESOURCE: ("resource", "server"),
    _ISSUER: ("authorization", "server"),
}
_TO: Final = {Place.MCP.value: _RESOURCE, Place.RESOURCE_METADATA.value: _RESOURCE}
_SHORT: Final = {
    Place.TOKENS.value: "token",
    Place.ISSUER_METADATA.value: "metadata",
    Place.RESOURCE_METADATA.value: "metadata",
}
_LABEL: Final = 44
"""Characters of a label."""

_LANE: Final = Markup(
    '<text x="{x}" y="12" text-anchor="middle" class="lane">{above}<tspan x="{x}" y="24">{name}</tspan></text>'
    '<path d="M{x} 30V{end}" class="line"/>'
)
_ARROW: Final = Markup(
    '<a href="#{anchor}" class="{kind}" aria-label="{label}"><text x="{text}" y="{above}">{label}</text>'
    '<path d="M{start} {y}H{end}m{back} -3.5l{tip} 3.5l{back} 3.5"/></a>'
)


def diagram(anchor: str, hops: Sequence[Mapping[str, Any]], broken: int | None) -> Markup:
    """An arrow for each hop, from the top down; each leads to its hop in the list.

    Args:
        anchor: what the ids of the list's hops begin with, before `-` and the number.
        hops: as the document of a run has them.
        broken: the number of the hop that broke a rule.
    """
    arrows = [arrow for hop in hops[:DRAWN] for arrow in _arrows(hop)]
    height = _TOP + _ROW * len(arrows) + 8
    label = f"The flow, {len(hops)} requests"
    parts = [
        Markup('<svg viewBox="0 0 {} {}" role="group" class="flow" aria-label="{}">').format(_WIDTH, height, label)
    ]
    parts += [_LANE.format(x=x, above=above, name=name, end=height) for x, (above, name) in _LANES.items()]
    for row, (number, start, end, label, kind) in enumerate(arrows, 1):
        y, tip = _TOP + _ROW * row - 10, 5 if end > start else -5
        parts.append(
            _ARROW.format(
                anchor=f"{anchor}-{number}",
                kind=f"{kind} bad" if number == broken else kind,
                text=min(start, end) + 5,
                above=y - 4,
                label=label[:_LABEL],
                start=start,
                end=end,
                y=y,
                tip=tip,
                back=-tip,
            )
        )
    return Markup("").join([*parts, Markup("</svg>")])


def _arrows(hop: Mapping[str, Any]) -> Iterator[tuple[int, int, int, str, str]]:
    """The arrows of one hop: its number, from where to where, what stands at it, and `asked` or `led`."""
    place, sent, answered = hop["place"], hop["sent"], hop["answered"]
    asked = sent.get("method") if place == Place.MCP.value else _SHORT.get(place, place)
    if place == Place.TOKENS.value:
        asked = f"{asked} ({sent.get('grant_type', 'no grant')})"
    asked = f"{asked} ({hop['party']})" if hop.get("party") else asked
    start = _BROWSER if place == Place.AUTHORIZE.value else _CLIENT
    yield hop["number"], start, _TO.get(place, _ISSUER), f"{hop['number']}. {asked} → {hop['status']}", "asked"
    if start == _BROWSER and "location" in answered:
        brought = "code" if "code" in answered else answered.get("error", "nothing")
        yield hop["number"], _BROWSER, _CLIENT, f"callback: {brought}", "led"
