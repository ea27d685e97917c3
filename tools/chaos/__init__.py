"""Chaos: a fleet under load while its parts are killed, frozen and restarted; and an account of what was lost.

`python -m tools.chaos` (which is `make chaos`) starts workers, a Redis and nginx as child processes, lets clients of
both eras work, injects faults from a table, and compares what the clients saw with a ledger that the server side kept
in a Redis of its own. Clients never repeat a call. Everything stays on loopback, and only what was started here is
ended.
"""
