"""What clients get at BASE_URI: the server itself, or a name, certificate or proxy that is in the way."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from switchboard.cli.checks.machine import Finding
from switchboard.common import strict_json
from switchboard.common.visible_text import excerpt
from switchboard.settings import Settings

WAIT_S: Final = 5.0
FIRST_EVENT_S: Final = 5.0
"""How long the first event of a stream may take, which the server sends at once."""
CHECK: Final = "address"

_VERSION: Final = "2026-07-28"
_LISTEN: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscriptions/listen",
    "params": {
        "notifications": {"toolsListChanged": True},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": _VERSION,
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
"""What is answered by a stream whose first event, the acknowledgement, comes at once."""
_LISTEN_HEADERS: Final = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": _VERSION,
    "Mcp-Method": "subscriptions/listen",
}


async def reached(
    settings: Settings, verify: ssl.SSLContext | bool = True, token: str | None = None
) -> AsyncIterator[Finding]:
    """Ask BASE_URI what clients ask first: whether it is ready, its metadata, and /mcp without a token.

    Args:
        token: with which an event stream is opened; without one that is done only where none is needed.
    """
    async with httpx2.AsyncClient(timeout=WAIT_S, verify=verify, follow_redirects=False) as http:
        ready = f"{settings.base_uri}/readyz"
        try:
            answer = await http.get(ready)
        except httpx2.HTTPError as error:
            yield _unreached(settings, error)
            return
        finding = _ready(settings, ready, answer)
        yield finding
        if finding.verdict != "ok":
            return
        try:
            if settings.auth_mode != "none":
                yield _metadata(settings, await http.get(metadata_url(settings)))
                yield _challenge(await http.post(settings.mcp_url, json={}), examining=token is not None)
            if settings.auth_mode == "none" or token is not None:
                yield await _stream(settings, http, token)
        except httpx2.HTTPError as error:
            yield Finding(
                CHECK, "failed", f"{settings.mcp_url} breaks off ({type(error).__name__}): see the proxy's log"
            )


def metadata_url(settings: Settings) -> str:
    """Of the protected resource (RFC 9728 §3.1)."""
    parts = urlsplit(settings.mcp_url)
    return f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource{parts.path}"


def _unreached(settings: Settings, error: Exception) -> Finding:
    host = urlsplit(settings.base_uri).hostname
    cause = _certificate(error)
    if cause is not None:
        expired = "expired" in cause.verify_message
        mend = "renew it" if expired else "send the whole chain, or have clients trust its authority"
        said = f"the certificate of {host} is refused: {cause.verify_message}: {mend}"
        return Finding(CHECK, "failed", said)
    if isinstance(error, httpx2.ConnectError) and "ssl" in repr(error).lower():
        said = f"{settings.base_uri} does not speak TLS ({error}): is BASE_URI https, and the proxy http?"
        return Finding(CHECK, "failed", said)
    said = f"{settings.base_uri} is not served now ({type(error).__name__}: {error})"
    return Finding(CHECK, "warning", f"{said}: start the server, or see that {host} leads to it")


def _certificate(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _ready(settings: Settings, url: str, answer: httpx2.Response) -> Finding:
    status = answer.status_code
    if status == 200:
        return Finding(CHECK, "ok", f"{url} answers 200")
    if answer.is_redirect:
        to = excerpt(answer.headers.get("location", ""), 200)
        said = (
            f"{url} leads to {to}: clients do not follow with a token. Set BASE_URI to the address that answers itself"
        )
    elif status == 503:
        said = f"{url} answers 503: {excerpt(answer.text)}"
    elif status in (403, 421):
        said = f"{url} answers {status}: the proxy changes the Host header: have it pass {urlsplit(url).netloc} on"
    elif status in (502, 504):
        said = (
            f"{url} answers {status}: the proxy does not reach the server: see its upstream, and PORT={settings.port}"
        )
    else:
        said = f"{url} answers {status}: another program is there, or BASE_URI's path is not passed on as it is"
    return Finding(CHECK, "failed", said)


def _metadata(settings: Settings, answer: httpx2.Response) -> Finding:
    url = metadata_url(settings)
    if answer.status_code != 200:
        said = f"{url} answers {answer.status_code}: clients cannot find where to sign in. Pass /.well-known/ on, too"
        return Finding(CHECK, "failed", said)
    try:
        resource: Any = strict_json.read_object(answer.content).get("resource")
    except ValueError as error:
        return Finding(CHECK, "failed", f"{url} {error}: another program answers there")
    if resource != settings.mcp_url:
        said = f"its metadata calls the server {excerpt(resource)}, and BASE_URI here makes it {settings.mcp_url}"
        return Finding(CHECK, "failed", f"{said}: give every worker the BASE_URI that clients use")
    return Finding(CHECK, "ok", f"its metadata is that of {resource}")


def _challenge(answer: httpx2.Response, *, examining: bool) -> Finding:
    if answer.status_code == 401 and "resource_metadata" in answer.headers.get("www-authenticate", ""):
        more = "" if examining else "; with --token, an event stream is looked at, too"
        return Finding(CHECK, "ok", f"/mcp asks for a token, and says where to get one{more}")
    if answer.status_code == 401:
        said = "the 401 of /mcp comes without WWW-Authenticate: have the proxy pass that header on"
    else:
        said = (
            f"/mcp without a token is answered {answer.status_code} instead of 401: something before the server answers"
        )
    return Finding(CHECK, "failed", said)


async def _stream(settings: Settings, http: httpx2.AsyncClient, token: str | None) -> Finding:
    """Whether the first event of a stream, which the server sends at once, arrives while the stream is open."""
    headers = _LISTEN_HEADERS if token is None else {**_LISTEN_HEADERS, "Authorization": f"Bearer {token}"}
    try:
        async with (
            asyncio.timeout(FIRST_EVENT_S),
            http.stream("POST", settings.mcp_url, json=_LISTEN, headers=headers, timeout=FIRST_EVENT_S) as answer,
        ):
            if answer.status_code != 200:
                said = excerpt((await answer.aread()).decode(errors="replace"))
                return Finding(CHECK, "warning", f"an event stream is answered {answer.status_code}: {said}")
            async for part in answer.aiter_bytes():
                if part:
                    return Finding(CHECK, "ok", "the first event of a stream arrives at once")
    except (TimeoutError, httpx2.TimeoutException):
        said = f"the first event of a stream does not arrive within {FIRST_EVENT_S:g} s: a proxy keeps it back"
        return Finding(CHECK, "failed", f"{said}: switch its buffering off for {urlsplit(settings.mcp_url).path}")
    return Finding(
        CHECK, "failed", "an event stream is ended before its first event: see the proxy's time-outs and log"
    )
