"""Which scopes a message needs: one row for each family of methods (AUTH: 403 names all that are needed)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from starlette.types import Scope, Send

from switchboard.http.jsonrpc import LONGEST_ID
from switchboard.http.middleware.bearer import Challenge
from switchboard.http.responses import refuse
from switchboard.identity import Principal
from switchboard.identity.scopes import missing
from switchboard.protocol.changes import LIST_CHANGES

_NEEDED: Final = (
    ("tools/", "mcp:tools"),
    ("tasks/", "mcp:tools"),
    ("resources/", "mcp:resources"),
    ("prompts/", "mcp:prompts"),
)

LISTEN: Final = "subscriptions/listen"

_NAMED: Final = {"resourceSubscriptions": "mcp:resources", "taskIds": "mcp:tools"}
"""What a listen filter may follow by name, and what that needs."""

_KINDS: Final = {f"{kind}ListChanged": f"mcp:{kind}" for kind in LIST_CHANGES}
"""What else it may ask for; where the scope is missing it is left out of the acknowledgement."""

_COMPLETION: Final = {"ref/prompt": "mcp:prompts", "ref/resource": "mcp:resources"}


class InsufficientScope(Exception):
    """The token is good, but what was asked needs all of `needed`."""

    def __init__(self, needed: frozenset[str]) -> None:
        super().__init__(" ".join(sorted(needed)))
        self.needed = needed


def needed(message: Any) -> frozenset[str]:
    """The scopes for one JSON-RPC message; none for what every authenticated client may do."""
    method = message.get("method") if isinstance(message, dict) else None
    if not isinstance(method, str):
        return frozenset()
    if method == "completion/complete":
        return _for_completion(message.get("params"))
    if method == LISTEN:
        return frozenset(scope for name, scope in _NAMED.items() if _filter(message).get(name))
    return _kept(method) if len(method) <= LONGEST_ID else _by_method(method)


def _by_method(method: str) -> frozenset[str]:
    return frozenset(scope for prefix, scope in _NEEDED if method.startswith(prefix))


_kept: Final = lru_cache(maxsize=256)(_by_method)
_FOR_CALL: Final = _by_method("tools/call")


def declined(principal: Principal) -> frozenset[str]:
    """The members of a listen filter that the principal's scopes do not cover."""
    return frozenset(name for name, scope in _KINDS.items() if _lacks(principal.scopes, frozenset({scope})))


EntryScopes = Callable[[str, Mapping[str, Any]], frozenset[str]]
"""`(method, params)` → what configuration asks for the tool, prompt or resource that they are about."""


def no_scopes(_method: str, _params: Mapping[str, Any]) -> frozenset[str]:
    """Where nothing needs more than another."""
    return frozenset()


def require(principal: Principal, messages: Iterable[Any], entry_scopes: EntryScopes = no_scopes) -> None:
    """Refuse what the principal's scopes, and those they imply, do not cover.

    Raises:
        InsufficientScope: with all scopes that the messages need.
    """
    together: frozenset[str] = frozenset()
    for message in messages:
        of_method, of_entry = needed(message), _of_entry(message, entry_scopes)
        together = (together | of_method | of_entry) if together or of_entry else of_method
    if together and _lacks(principal.scopes, together):
        raise InsufficientScope(together)


def require_for_call(principal: Principal, entry_scopes: frozenset[str]) -> None:
    """The same for one `tools/call` of a tool for which configuration asks for `entry_scopes`."""
    together = _FOR_CALL | entry_scopes if entry_scopes else _FOR_CALL
    if _lacks(principal.scopes, together):
        raise InsufficientScope(together)


async def answer(error: InsufficientScope, scope: Scope, send: Send) -> None:
    """403, and the challenge that lets a client step up (RFC 6750 §3.1, MCP authorization "Scope Challenge")."""
    challenge = scope.get("state", {}).get("challenge")
    headers = []
    if isinstance(challenge, Challenge):
        headers.append((b"www-authenticate", challenge.insufficient(sorted(error.needed))))
    await refuse(scope, send, 403, told(error, scope), headers=headers)


def told(error: InsufficientScope, scope: Scope) -> str:
    """What the client is told, in the names by which it can ask the issuer."""
    challenge = scope.get("state", {}).get("challenge")
    names = challenge.names.needed(sorted(error.needed)) if isinstance(challenge, Challenge) else sorted(error.needed)
    return f"The token lacks a scope: {' '.join(names)} is needed"


@lru_cache(maxsize=1024)
def _lacks(granted: frozenset[str], together: frozenset[str]) -> bool:
    """The same few sets meet on every call."""
    return bool(missing(granted, together))


def _of_entry(message: Any, entry_scopes: EntryScopes) -> frozenset[str]:
    if not isinstance(message, dict):
        return frozenset()
    method, params = message.get("method"), message.get("params")
    return entry_scopes(method, params) if isinstance(method, str) and isinstance(params, dict) else frozenset()


def _filter(message: Mapping[str, Any]) -> Mapping[str, Any]:
    params = message.get("params")
    found = params.get("notifications") if isinstance(params, dict) else None
    return found if isinstance(found, dict) else {}


def _for_completion(params: Any) -> frozenset[str]:
    ref = params.get("ref") if isinstance(params, dict) else None
    kind = ref.get("type") if isinstance(ref, dict) else None
    return frozenset({_COMPLETION[kind]}) if isinstance(kind, str) and kind in _COMPLETION else frozenset()
