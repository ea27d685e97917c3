"""What clients get at BASE_URI: the server itself, or a name, certificate or proxy that is in the way."""

from __future__ import annotations

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
CHECK: Final = "address"


async def reached(settings: Settings, verify: ssl.SSLContext | bool = True) -> AsyncIterator[Finding]:
    """Ask BASE_URI what clients ask first: whether it is ready, its metadata, and /mcp without a token."""
    async with httpx2.AsyncClient(timeout=WAIT_S, verify=verify, follow_redirects=False) as http:
        ready = f"{settings.base_uri}/readyz"
        try:
            answer = await http.get(ready)
        except httpx2.HTTPError as error:
            yield _unreached(settings, error)
            return
        finding = _ready(settings, ready, answer)
        yield finding
        if finding.verdict != "ok" or settings.auth_mode == "none":
            return
        try:
            yield _metadata(settings, await http.get(metadata_url(settings)))
            yield _challenge(await http.post(settings.mcp_url, json={}))
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


def _challenge(answer: httpx2.Response) -> Finding:
    if answer.status_code == 401 and "resource_metadata" in answer.headers.get("www-authenticate", ""):
        return Finding(CHECK, "ok", "/mcp asks for a token, and says where to get one")
    if answer.status_code == 401:
        said = "the 401 of /mcp comes without WWW-Authenticate: have the proxy pass that header on"
    else:
        said = (
            f"/mcp without a token is answered {answer.status_code} instead of 401: something before the server answers"
        )
    return Finding(CHECK, "failed", said)
