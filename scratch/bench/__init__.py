"""Measurements: `make bench`, which is `python -m scratch.bench`; and two scripts, for what breaks and for wake-ups.

| module | does |
|---|---|
| `peers.toml`, `install` | the servers of others, and how they get below .cache/bench |
| `servers`, `processes` | starts ours and theirs; pins, freezes, counts and ends processes |
| `messages`, `load` | requests as bytes; the process that sends them and checks every answer |
| `rows`, `measure` | who is asked what, and in which order |
| `fleets`, `idle`, `times`, `lines` | two workers; idle streams; starts and long load; a child spoken to directly |
| `scale/` | what calls cost Redis, and many workers' traffic replayed at one |
| `results`, `found` | .cache/bench/results.json; medians out of it, and the goals |
| `document`, `svg`, `scale/limits` | docs/performance.md, its plots, docs/limits.md |
| `programs/` | what is started: the SDK's server, FastMCP's, and what stands behind gateways |
"""
