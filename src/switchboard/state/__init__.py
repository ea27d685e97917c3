"""Shared state: Redis, or its in-process stand-in, behind one set of commands.

Owns the connections, what every request looks up, the table of keys, pub/sub, the guarded writes, the worker's contact
with Redis, the fleet's clock, and what to warn of.
Knows no session, no token and no tool.

May import: leaves.
Never imports: sessions, identity, auth_server.
"""

from switchboard.state.checks import StateChecks
from switchboard.state.connect import State, open_state
from switchboard.state.fingerprint import check_fingerprint
from switchboard.state.joining import awaiting_redis, join
from switchboard.state.keys import Keys
from switchboard.state.lookups import Lookups
from switchboard.state.pubsub import PubSub
from switchboard.state.replicas import Replicas
from switchboard.state.scripts import Scripts, Written

__all__ = [
    "Keys",
    "Lookups",
    "PubSub",
    "Replicas",
    "Scripts",
    "State",
    "StateChecks",
    "Written",
    "awaiting_redis",
    "check_fingerprint",
    "join",
    "open_state",
]
