"""Parking: server→client requests for an era that forbids them.

In the modern era (2026-07-28) a server may not send requests: it answers `input_required`, and the client calls again
with the answers. A handler that elicits, samples or lists roots is therefore *parked*: it waits in its own task while
its round is answered, and goes on when the retry arrives, on whichever worker that is. Owns the table of parked calls
of this worker and the forwarding of retries between workers. Knows no tool, no HTTP, and never sees a token.

`middleware` is what a server installs; `registry` holds the calls, `call` is one of them with its rounds; `forward`
serves a retry that came to another worker; `continuation` is what the client carries in between; `outcome` and `errors`
are what it gets. What its handler sees and may ask is in `sessions`, where tasks have it too.

Spec: https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/mrtr
"""

from switchboard.sessions.parking.middleware import Parking

__all__ = ["Parking"]
