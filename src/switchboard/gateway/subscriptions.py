"""`resources/subscribe`, `resources/unsubscribe`, and `subscriptions/listen` as the SDK serves it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from mcp.server.subscriptions import ListenHandler, SubscriptionBus
from mcp_types import (
    EmptyResult,
    SubscribeRequestParams,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
    UnsubscribeRequestParams,
)

from switchboard.gateway.resources import readable, reader
from switchboard.gateway.session_state import session_id
from switchboard.gateway.source import CatalogSource, Context, Row

Subscribe = Callable[[str, str], Awaitable[None]]
"""`(session id, resource URI)`."""


def rows(source: CatalogSource, bus: SubscriptionBus, subscribe: Subscribe, unsubscribe: Subscribe) -> Iterable[Row]:
    """What serves subscriptions."""

    async def on_subscribe(ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        await reader(source, ctx, str(params.uri))
        await subscribe(session_id(), str(params.uri))
        return EmptyResult()

    async def on_unsubscribe(_ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        # Whatever policy says by now: it only ends what the session had.
        await unsubscribe(session_id(), str(params.uri))
        return EmptyResult()

    # Over HTTP these streams are served before the SDK's entry; this one makes the capability true everywhere.
    listening = ListenHandler(bus)

    async def on_listen(ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        wanted = params.notifications
        uris = await readable(source, wanted.resource_subscriptions or ())
        narrowed = wanted.model_copy(update={"resource_subscriptions": uris or None})
        return await listening(ctx, params.model_copy(update={"notifications": narrowed}))

    yield "resources/subscribe", SubscribeRequestParams, on_subscribe
    yield "resources/unsubscribe", UnsubscribeRequestParams, on_unsubscribe
    yield "subscriptions/listen", SubscriptionsListenRequestParams, on_listen
