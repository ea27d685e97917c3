"""One call to another worker: `await peers.call(worker, method, params, channel)`.

Every worker has one standing channel, on which it is called and answered. A call is a conversation of two numbered
streams of frames: what is lost is sent again, what comes twice counts once, what comes out of order waits. Besides the
outcome, the worker that serves a call sends notifications and progress, in order, and may ask the caller's client.

A caller learns of every end: an outcome, the handler's error, or `PeerLost`, which says whether anything may have been
done. Each end takes the other for lost after a time without a sign, counted only while Redis answers. A call made
`once` begins at most once, however often it is sent: both ends decide that in Redis. Workers of different versions of
the frames use different channels, so a call between them is given up as not begun, and says so.

`peer` is a worker's end, with `call`, `serving` and `broadcast`; `client` and `server` are the two sides of a call;
`frames` is what they exchange, in order and without loss; `link` is the way to Redis; `channel` has the interfaces, the
errors and the times.

Imports `state`, `errors` and the SDK's error; knows no method, and never a session, a backend or HTTP.
"""

from switchboard.fleet.peers.channel import NO_CLIENT, CallTiming, Channel, NotHere, PeerLost, ServedChannel
from switchboard.fleet.peers.client import error_data
from switchboard.fleet.peers.peer import Peers

__all__ = ["NO_CLIENT", "CallTiming", "Channel", "NotHere", "PeerLost", "Peers", "ServedChannel", "error_data"]
