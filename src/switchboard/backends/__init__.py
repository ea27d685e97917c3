"""Other MCP servers as providers: children on stdio, Streamable HTTP of both eras, HTTP+SSE.

`description` says what a backend is; `provider` is how the gateway calls it. Under it: `calling` passes a request on,
`lines` keeps connections, `line` is one of them, `wire` speaks on it, `transports`, `child`, `stdio` and `http` carry
it; `messages`, `repairs` and `empty_objects` read what a backend sent as it was meant, or refuse it. `calls` knows
which call a question belongs to, `roots` answers what is asked between calls, `client_channel` is whoever made a call.
`discovery` finds out what there is, for the fleet (`lead`, `known`, `looks`), with `listing`, `offer` and `cleaning`.
`watchdog` leaves no child behind.

What it needs of the rooms above comes as Protocols.

May import: config, fleet, identity, state, leaves.
Never imports: sessions, gateway, catalog, http, starlette.
"""

from switchboard.backends.config import Backend, Bounds, Http, Patience, Sse, Stdio
from switchboard.backends.provider import BackendProvider, providers
from switchboard.backends.transports.watchdog import Watchdog

__all__ = ["Backend", "BackendProvider", "Bounds", "Http", "Patience", "Sse", "Stdio", "Watchdog", "providers"]
