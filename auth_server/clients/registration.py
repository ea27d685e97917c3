"""Client metadata as RFC 7591 §2 has it: checked, and what we do not offer replaced by what we do. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NoReturn
from urllib.parse import urlsplit

from auth_server.clients.redirect_uris import problem, split
from auth_server.errors import Refusal
from auth_server.models import AUTHORIZATION_CODE, REFRESH_TOKEN, Client, dump
from switchboard.common import visible_text
from switchboard.common.hosts import is_loopback
from switchboard.common.jose import public_members

MAX_REDIRECTS = 20
MAX_NAME = 100
MAX_URI = 2_000
_JOINERS = "\u200c\u200d"
_HOST = re.compile(r"[a-z0-9.-]{1,253}|[0-9a-f:.]{2,45}")
LARGEST = 8_192
"""Bytes that are kept of a registration, which needs no sign-in."""

AUTH_METHODS = ("none", "client_secret_basic", "client_secret_post", "private_key_jwt")
GRANTS = (AUTHORIZATION_CODE, REFRESH_TOKEN)
"""What a client may register itself for; machine grants are given by settings only."""


def checked(metadata: object, client_id: str, scopes: tuple[str, ...]) -> Client:
    """A client with this metadata and no credentials yet.

    Raises:
        Refusal: `invalid_redirect_uri` or `invalid_client_metadata` (RFC 7591 §3.2.2).
    """
    if not isinstance(metadata, dict):
        _refuse("the body must be a JSON object")
    if "code" not in _strings(metadata, "response_types", ("code",)):
        _refuse("response_types must include code")
    grants = tuple(grant for grant in _strings(metadata, "grant_types", (AUTHORIZATION_CODE,)) if grant in GRANTS)
    if AUTHORIZATION_CODE not in grants:
        _refuse("grant_types must include authorization_code")
    redirects, kind = _redirects(metadata)
    wanted = set(_string(metadata, "scope").split())
    client = Client(
        id=client_id,
        redirect_uris=redirects,
        name=clean(_string(metadata, "client_name")),
        auth_method=_auth_method(metadata),
        grant_types=grants,
        scope=" ".join(scope for scope in scopes if scope in wanted),
        application_type=kind,
        uri=_shown_site(metadata),
        jwks=_jwks(metadata),
        jwks_uri=_jwks_uri(metadata),
        software_id=clean(_string(metadata, "software_id")),
        software_version=clean(_string(metadata, "software_version")),
    )
    if len(dump(client)) > LARGEST:
        _refuse(f"the metadata is too large: {LARGEST} bytes of it are kept at most, keys and redirect_uris included")
    return client


def described(client: Client) -> dict[str, Any]:
    """The metadata of a client as it is answered; members without a value are left out."""
    members = {
        "client_id": client.id,
        "client_name": client.name,
        "client_uri": client.uri,
        "redirect_uris": list(client.redirect_uris),
        "grant_types": list(client.grant_types),
        "response_types": ["code"],
        "token_endpoint_auth_method": client.auth_method,
        "application_type": client.application_type,
        "scope": client.scope,
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
        "software_id": client.software_id,
        "software_version": client.software_version,
        "client_id_issued_at": client.issued_at,
    }
    return {name: value for name, value in members.items() if value}


def clean(text: str) -> str:
    """`text` without what is not seen, in one line, cut to a length a person reads; nothing if nothing is left."""
    seen = visible_text.text(" ".join(text.split()))
    known = "".join(char for char in seen if char in _JOINERS or not unicodedata.category(char).startswith("C"))
    shown = " ".join(known.split())[:MAX_NAME]
    return shown if any(unicodedata.category(char)[0] in "LNPS" for char in shown) else ""


def _redirects(metadata: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    redirects = _strings(metadata, "redirect_uris", ())
    if not 0 < len(redirects) <= MAX_REDIRECTS:
        raise Refusal("invalid_redirect_uri", f"redirect_uris must hold 1 to {MAX_REDIRECTS} addresses")
    kind = _string(metadata, "application_type") or _guessed_type(redirects)
    if kind not in ("native", "web"):
        _refuse("application_type must be native or web")
    for uri in redirects:
        found = problem(uri, kind)
        if found:
            raise Refusal("invalid_redirect_uri", f"a redirect URI {found}")
    return tuple(dict.fromkeys(redirects)), kind


def _guessed_type(redirects: tuple[str, ...]) -> str:
    """Clients from before `application_type` was asked of them: by where they want to be reached."""
    return "web" if all(_is_web(uri) for uri in redirects) else "native"


def _is_web(uri: str) -> bool:
    parts = split(uri)
    return parts is not None and parts.scheme == "https" and not is_loopback(parts.host)


def _auth_method(metadata: dict[str, Any]) -> str:
    method = _string(metadata, "token_endpoint_auth_method") or "client_secret_basic"
    if method not in AUTH_METHODS:
        _refuse(f"token_endpoint_auth_method must be one of {', '.join(AUTH_METHODS)}")
    if method == "private_key_jwt" and not (metadata.get("jwks") or metadata.get("jwks_uri")):
        _refuse("private_key_jwt needs jwks or jwks_uri")
    return method


def _jwks(metadata: dict[str, Any]) -> dict[str, Any] | None:
    jwks = metadata.get("jwks")
    if jwks is None:
        return None
    if metadata.get("jwks_uri"):
        _refuse("jwks and jwks_uri exclude each other")
    keys = jwks.get("keys") if isinstance(jwks, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_REDIRECTS or not all(isinstance(key, dict) for key in keys):
        _refuse("jwks must be a key set")
    if any(key.get("kty") == "oct" or "d" in key for key in keys):
        _refuse("jwks must hold public keys only")
    return {"keys": [public_members(key) for key in keys]}


def _jwks_uri(metadata: dict[str, Any]) -> str:
    value = _string(metadata, "jwks_uri")
    parts = split(value) if value else None
    if value and (parts is None or not parts.host or parts.scheme != "https"):
        _refuse("jwks_uri must be an https address")
    return value


def _shown_site(metadata: dict[str, Any]) -> str:
    """The `client_uri`, if its host can be shown: that is all it is for, so another one is left out, not refused."""
    value = _string(metadata, "client_uri")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return ""
    plain = value.isascii() and value.isprintable() and len(value) <= MAX_URI and "@" not in parts.netloc
    return value if plain and parts.scheme in ("http", "https") and _HOST.fullmatch(host) else ""


def _string(metadata: dict[str, Any], name: str) -> str:
    value = metadata.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(f"{name} must be a string")
    return value


def _strings(metadata: dict[str, Any], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    value = metadata.get(name)
    if value is None:
        return default
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        _refuse(f"{name} must be a list of strings")
    return tuple(value)


def _refuse(why: str) -> NoReturn:
    raise Refusal("invalid_client_metadata", why)
