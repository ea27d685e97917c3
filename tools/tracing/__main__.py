"""Draws the trace of one real call that crosses two workers and a backend: `python -m tools.tracing FILE.svg`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Final

from tools.fleet.redis_server import start_redis
from tools.messages import call, modern
from tools.tracing.collector import Collected
from tools.tracing.fleet import TracedFleet, context, running

CALLS: Final = 20
"""Of each worker; the quickest is drawn, which least else was done beside."""

WIDTH, LEFT, ROW, TOP = 900, 350, 26, 46
TITLE: Final = "One call, two workers and a backend"
COLOURS: Final = ("#1f6feb", "#8250df", "#2da44e")


def crossing(fleet: TracedFleet) -> list[Collected]:
    """The spans of the quickest call to the worker whose backend's child is at the other one, from the first on."""
    found: list[list[Collected]] = []
    for _ in range(CALLS):
        for worker in (0, 1):
            trace, root, parent = context()
            message = modern(call("far__echo", {"text": "hello"}))
            fleet.post(worker, message, traceparent=parent).raise_for_status()
            spans = fleet.collector.whole(trace, "POST /mcp", "tools/call echo", "tools/call echo", root=root)
            if any(span.name == "peer backend" for span in spans):
                found.append(sorted(spans, key=lambda span: (span.begin, -span.end)))
    return min(found, key=lambda spans: spans[0].end - spans[0].begin)


def drawn(spans: Sequence[Collected]) -> str:
    """The spans as a picture, a row each."""
    begin, end = min(span.begin for span in spans), max(span.end for span in spans)
    places = {place: f"worker {name}" for place, name in zip(_workers(spans), "AB", strict=False)}
    colours = dict(zip([*places, ""], COLOURS, strict=False))
    height = TOP + ROW * len(spans) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        ' font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="24" font-weight="bold" fill="#24292f">{TITLE}: trace {spans[0].trace}</text>',
    ]
    room = WIDTH - LEFT - 90
    for number, span in enumerate(spans):
        y = TOP + ROW * number
        colour = colours.get(span.instance, COLOURS[-1])
        x = LEFT + room * (span.begin - begin) / (end - begin)
        width = max(1.5, room * (span.end - span.begin) / (end - begin))
        label = f"{escape(span.name)} <tspan fill='#6e7781'>({span.kind})</tspan>"
        parts += [
            f'<text x="12" y="{y + 15}" fill="{colour}">{places.get(span.instance, "backend")}</text>',
            f'<text x="{90 + 8 * depth(span, spans)}" y="{y + 15}" fill="#24292f">{label}</text>',
            f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="{ROW - 10}" rx="2" fill="{colour}"/>',
            f'<text x="{x + width + 5:.1f}" y="{y + 15}" fill="#6e7781">{(span.end - span.begin) / 1e6:.2f} ms</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def depth(span: Collected, spans: Sequence[Collected]) -> int:
    """How many spans are above one."""
    by_id: Mapping[str, Collected] = {each.id: each for each in spans}
    above = by_id.get(span.parent)
    return 0 if above is None else 1 + depth(above, spans)


def _workers(spans: Sequence[Collected]) -> list[str]:
    return list(dict.fromkeys(span.instance for span in spans if span.service == "switchboard"))


def main() -> None:
    """Run the fleet, call, and write the picture."""
    with tempfile.TemporaryDirectory(prefix="switchboard-trace-") as name:
        folder = Path(name)
        redis = start_redis(folder)
        try:
            with running(folder, redis.url) as fleet:
                spans = crossing(fleet)
        finally:
            if redis.child:
                redis.child.stop()
    Path(sys.argv[1]).write_text(drawn(spans))
    print("\n".join(f"{'  ' * depth(span, spans)}{span.name} ({span.kind}) {span.instance}" for span in spans))


if __name__ == "__main__":
    main()
