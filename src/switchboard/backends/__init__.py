"""Other MCP servers as providers: children on stdio, Streamable HTTP of both eras, HTTP+SSE.

Owns the connections to backends, the sessions that backends keep for our clients, and what is known of their offers,
for the whole fleet. A call goes down this list:

* `provider`: a backend as the gateway calls it; `forwarding` sends one request and reads its result (`texts` cleans it,
  `input_required` drives the rounds of a modern backend for a handshake client)
* `routing`: which worker has the connection; a call to another worker's child goes there
* `connections/`: the pool, one connection, JSON-RPC on it, and the calls in flight
* `transports/`: the children and the HTTP that carry it

Beside them: `config` says what a backend is, `caller` is the client whose call is served, `envelope` has what each leg
of the way writes anew, `errors` what can go wrong. `offer/` finds out what a backend offers, over the
`gateway_connection`; `health` says how it is doing; `session_reaper` ends what a client's session leaves behind;
`trial` tries a backend that is not served.

What it needs of the rooms above comes as Protocols.

May import: outbound_auth, config, fleet, identity, state, leaves.
Never imports: sessions, gateway, catalog, http, starlette.
"""

from switchboard.backends.config import Backend, Bounds, Channel, Http, Patience, Sse, Stdio
from switchboard.backends.provider import BackendProvider
from switchboard.backends.transports.watchdog import Watchdog

__all__ = ["Backend", "BackendProvider", "Bounds", "Channel", "Http", "Patience", "Sse", "Stdio", "Watchdog"]
