"""The streams of a session: stored in Redis, so that any worker can give the rest of one to a client that comes back.

Owns frames and the loop that follows them, the replies to POSTs, the standalone stream, listen streams, and the
streams that are open on this worker. Knows no HTTP but the bytes of server-sent events.

May import: sessions, plugins, identity, fleet, state, leaves.
Never imports: http, gateway, sessions.parking, starlette, settings.
"""
