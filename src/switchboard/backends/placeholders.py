"""A backend's transport as it is for one connection: with `${user}` and `${session}` replaced."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from switchboard.backends.config import Http, Sse, Stdio, Transport
from switchboard.backends.connections.connection_key import GATEWAY, ConnectionKey
from switchboard.config.placeholders import names_in, replaced


def for_connection(what: Transport, key: ConnectionKey) -> Transport:
    """The transport of a key's connection. The gateway's own connection has `discovery` for both."""
    whose = {"user": _digest(key.user), "session": _digest(key.owner)}
    if key.owner == GATEWAY:
        whose = dict.fromkeys(whose, GATEWAY)
    if isinstance(what, Stdio):
        return replace(
            what,
            args=tuple(replaced(each, whose) for each in what.args),
            env={name: replaced(value, whose) for name, value in what.env.items()},
            cwd=None if what.cwd is None else replaced(what.cwd, whose),
            own_cwd=what.cwd is not None and bool(names_in(what.cwd)),
        )
    return replace(what, headers={name: replaced(value, whose) for name, value in what.headers.items()})


def for_nobody(what: Http | Sse) -> dict[str, str]:
    """The headers of a request that is made for nobody in particular: those that are the same for everybody."""
    return {name: value for name, value in what.headers.items() if not names_in(value)}


def _digest(whose: str) -> str:
    return hashlib.sha256(whose.encode()).hexdigest()[:32]
