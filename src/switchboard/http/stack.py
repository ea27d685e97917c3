"""The order of the way in. One table: a row is one middleware, the outermost first.

Trusted proxies stand before it. `one_pass` decides the same for ordinary requests, in the same order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from switchboard.http.event_stream import Streaming
from switchboard.http.middleware.access import ToolOf, as_named
from switchboard.http.middleware.body_limit import BodyLimit
from switchboard.http.middleware.cors import Cors
from switchboard.http.middleware.guards import PROBES, Guards
from switchboard.http.middleware.proxy import Network, TrustedProxies
from switchboard.http.middleware.request_log import RequestLog
from switchboard.http.middleware.security_headers import SecurityHeaders


@dataclass(frozen=True, slots=True)
class Policy:
    """What the way in enforces for every path."""

    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    proxies: tuple[Network, ...] = ()
    max_body_bytes: int = 4 * 1024 * 1024
    public: tuple[str, ...] = ()
    """Paths that pages of any origin may call; one that ends with a slash stands for all below it."""

    probes: frozenset[str] = PROBES
    """Paths that are asked whether the worker lives, by whatever name, and are no lines in the log."""

    tool_of: ToolOf = as_named
    """Whose tool a call is about, for the log."""

    https: bool = False
    """Whether the public URL is https: then browsers are told to stay there."""


_STACK: tuple[Callable[[ASGIApp, Policy], ASGIApp], ...] = (
    lambda app, policy: RequestLog(app, policy.probes, policy.tool_of),
    lambda app, _policy: Streaming(app),
    lambda app, policy: Cors(app, origins=policy.origins, public=policy.public),
    lambda app, policy: SecurityHeaders(app, https=policy.https),
    lambda app, policy: Guards(
        app, hosts=policy.hosts, origins=policy.origins, public=policy.public, probes=policy.probes
    ),
    lambda app, policy: BodyLimit(app, policy.max_body_bytes),
)


def wrap(
    app: ASGIApp,
    policy: Policy,
    *inner: Callable[[ASGIApp], ASGIApp],
    shortened: Callable[[ASGIApp], ASGIApp] = lambda table: table,
) -> ASGIApp:
    """`app` behind the whole stack; `inner` rows come last, the outermost first.

    Args:
        shortened: puts what serves ordinary requests in one pass before the table, behind trusted proxies.
    """
    for row in reversed(inner):
        app = row(app)
    for outer in reversed(_STACK):
        app = outer(app, policy)
    app = shortened(app)
    return TrustedProxies(app, policy.proxies) if policy.proxies else app


Serving = Callable[[bytes], AbstractContextManager[None]]
"""A query → a context in which handlers see what it selects. Raises `UnknownSelection`."""


class Selecting:
    """Serves each request in the context of what its query selects: `/mcp?preset=dev&tags=web,!danger`.

    Raises:
        UnknownSelection: there is no such preset.
    """

    def __init__(self, app: ASGIApp, serving: Serving) -> None:
        self._app = app
        self._serving = serving

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if not scope["query_string"]:
            return self._app(scope, receive, send)
        return self._selected(scope, receive, send)

    async def _selected(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._serving(scope["query_string"]):
            await self._app(scope, receive, send)
