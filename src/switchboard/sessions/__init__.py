"""Sessions: what lets any worker serve any request of any client.

Owns the records of handshake sessions, exchanges (one client request while it is served), their replies and streams,
the mailbox for server→client requests, parked calls and listen streams of the modern era, and the bus. `http` hands
it parsed messages and writes what comes back.

May import: plugins, identity, fleet, state, leaves.
Never imports: http, gateway, starlette, settings.
"""
