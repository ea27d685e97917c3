"""What can go wrong with a backend, and how a client is told: always by name, with the reason.

BackendFailure
├── Unreachable   it did not start, or does not answer at its address
│   └── Broken    and will not, until somebody mends it
│       └── AccessRefused  it does not accept our credential
├── Ended         the connection ended; whatever was in flight is lost
├── Forgotten     the backend does not know our session any more, and did nothing
├── Elsewhere     the one connection for all is another worker's
└── Refused       a quota is reached, or it failed too often just now
"""

from __future__ import annotations

from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import REQUEST_TIMEOUT

from switchboard.backends import texts
from switchboard.common.visible_text import text
from switchboard.errors import SwitchboardError

BACKEND_UNAVAILABLE: Final = -32010
"""In the range that JSON-RPC leaves to implementations."""

BAD_GATEWAY: Final = -32011
"""The backend answered, but not as the protocol has it."""


SESSION_FORGOTTEN: Final = -32012
ACCESS_REFUSED: Final = -32013
"""Between `answers` and the connection: no client sees them."""

ACCESS_REFUSED_KEY: Final = "accessRefused"


class BackendFailure(SwitchboardError):
    """A backend cannot serve; the message is the reason."""


class Unreachable(BackendFailure):
    """It did not start, or does not answer."""


class Broken(Unreachable):
    """It did not start, or refuses us, and will go on like this until somebody mends it."""


class AccessRefused(Broken):
    """It does not accept the credential that the connection has, or there is none: it did nothing."""


class Ended(BackendFailure):
    """The connection ended."""


class Forgotten(BackendFailure):
    """The backend does not know our session any more: it did nothing, and remembers nothing."""


class Elsewhere(BackendFailure):
    """The one connection for all is another worker's."""


class Refused(BackendFailure):
    """Not now: a quota is reached, or it failed too often."""


def unavailable(backend: str, reason: str, *, sent: bool) -> MCPError:
    """The error for a request that a backend could not serve.

    Args:
        sent: whether the backend may have seen the request: then repeating it may do things twice.
    """
    return MCPError(BACKEND_UNAVAILABLE, f"Backend {backend!r}: {reason}", {"backend": backend, "maybeDone": sent})


def not_begun(backend: str, failure: BackendFailure) -> MCPError:
    """The error for a request that never came to be sent."""
    if isinstance(failure, AccessRefused):
        return access_refused(backend, str(failure))
    return unavailable(backend, str(failure), sent=False)


def access_refused(backend: str, reason: str) -> MCPError:
    """The error for a request whose credential a backend did not accept, or that has none: it did nothing."""
    data = {"backend": backend, "maybeDone": False, ACCESS_REFUSED_KEY: True}
    return MCPError(BACKEND_UNAVAILABLE, f"Backend {backend!r}: {reason}", data)


def is_access_refused(error: MCPError) -> bool:
    """Whether it is such an error."""
    data = error.error.data
    return error.code == BACKEND_UNAVAILABLE and isinstance(data, dict) and data.get(ACCESS_REFUSED_KEY) is True


def timed_out(backend: str, method: str, seconds: float) -> MCPError:
    """The error for a request that took too long."""
    data = {"backend": backend, "maybeDone": True}
    return MCPError(REQUEST_TIMEOUT, f"Backend {backend!r}: no answer to {method} within {seconds:g} s", data)


def not_understood(backend: str, method: str, why: str) -> MCPError:
    """The error for an answer that breaks the protocol."""
    return MCPError(
        BAD_GATEWAY, f"Backend {backend!r}: its answer to {method} is not valid: {why}", {"backend": backend}
    )


def passed_on(backend: str, error: MCPError) -> MCPError:
    """A backend's own error, with its name in front; code and data stay, for they mean something."""
    data = texts.error_data(error.code, error.error.data)
    return MCPError(error.code, f"Backend {backend!r}: {text(error.message)}", data)
