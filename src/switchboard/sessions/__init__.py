"""Sessions: what lets any worker serve any request of any client.

Owns the records of handshake sessions, exchanges (one request while it is served), what a handler may ask its client,
and the bus of change notices; `streams` has the replies and streams of both eras, `parking` the calls of the modern era
that wait for their client. `http` hands it parsed messages and writes what comes back.

May import: plugins, identity, fleet, state, leaves.
Never imports: http, gateway, starlette, settings.
"""
