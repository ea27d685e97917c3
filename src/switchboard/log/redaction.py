"""What no line of a log may show: credentials, what is too long to read, and characters that are not seen.

`redact` is the last line of defence, not a licence: no code here logs a token, a code, a secret, a verifier or a
cookie. What others wrote reaches no terminal as it is: every value is one line of characters that are seen
(`visible_text.escaped`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from structlog.typing import EventDict, WrappedLogger

from switchboard.common.visible_text import escaped

_HIDDEN = "[redacted]"
_SHORTEST_SECRET = 6
_LONGEST_VALUE = 2000
_LOOKED_AT = 2 * _LONGEST_VALUE
"""Characters of a value that are searched for secrets: more than are shown, whose ends may be cut."""

_WHOLE = frozenset({"exception", "stack"})
"""What is never cut: it is ours, and of use only as a whole."""

_HARMLESS = frozenset({bool, int, float, type(None)})
_SECRET_KEYS = frozenset(
    {"authorization", "cookie", "set-cookie", "set_cookie", "password", "secret", "secret_key", "client_secret"}
    | {"token", "access_token", "refresh_token", "id_token", "subject_token", "request_state"}
    | {"code", "code_verifier", "assertion", "client_assertion"}
)
_SECRET_TEXT = re.compile(
    r"""(?ix)
    (?P<keep> \b(?:bearer|basic)\s+ )  [A-Za-z0-9\-._~+/]{6,}=*
    | (?P<pair> (?<![a-z0-9])
        (?! code ["']? \s* [=:] \s* ["']?  # an error's code is no secret: 'MODULE_NOT_FOUND', ENOENT, -32601
            (?-i: E[A-Z0-9]{3,} | [A-Z]+ (?: _[A-Z0-9]+ )+ | -\d+ ) (?! [A-Za-z0-9_\-.~+/] ) )
        (?: (?:access|refresh|id|subject|actor|registration_access)_token | code | code_verifier | client_secret
          | client_assertion | assertion | password | secret | secret_key | set-cookie | cookie )
        ["']? \s* [=:] \s* ["']? )  [^\s"'&;,)}]{6,}
    | (?P<user> ://[^\s/:@]* : )  [^\s/@]+ (?=@)
    """
)
_MOST_KEYS = 1000

_plain_keys: set[str] = set()
"""Keys of lines that name no credential."""


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank what looks like a credential, by its key or by its shape, in every value; cut what is too long to read, and
    write out what is not seen."""
    if _is_plain(event):
        return event
    for key, value in event.items():
        if type(value) in _HARMLESS:
            continue
        if key in _SECRET_KEYS or key.lower() in _SECRET_KEYS:
            event[key] = _HIDDEN
        elif key in _WHOLE:
            event[key] = "\n".join(map(escaped, redact_text(str(value)).split("\n")))
        else:
            event[key] = _shown(value) if type(value) is str else _redacted(value)
    return event


def _is_plain(event: EventDict) -> bool:
    """Whether nothing in it can be a credential, too long, or unseen: true of nearly every line, and soon known."""
    if not _plain_keys.issuperset(event) and not _are_plain(event):
        return False
    texts = []
    for value in event.values():
        if type(value) is str:
            texts.append(value)
        elif type(value) not in _HARMLESS:
            return False
    text = " ".join(texts)
    return len(text) <= _LONGEST_VALUE and text.isascii() and text.isprintable() and not _suspicious(text)


def _are_plain(keys: Iterable[str]) -> bool:
    """Whether none of them names a credential; they are written in code, so there are few, and these are kept."""
    if not all(key.islower() and key not in _SECRET_KEYS for key in keys):
        return False
    if len(_plain_keys) < _MOST_KEYS:
        _plain_keys.update(keys)
    return True


def redact_text(text: str) -> str:
    """`text` with bearer tokens, credentials in URLs and `code=…`-like pairs blanked."""
    return _SECRET_TEXT.sub(_blank, text) if _suspicious(text) else text


def _suspicious(text: str) -> bool:
    """Whether a secret could be in `text`: ten times cheaper than the expression, and on the path of every request."""
    return len(text) > _SHORTEST_SECRET and ("=" in text or ":" in text or "earer" in text or "asic " in text)


def _blank(found: re.Match[str]) -> str:
    return (found["keep"] or found["pair"] or found["user"] or "") + _HIDDEN


def _shown(text: str) -> str:
    """Clients choose paths, names, ids and reasons: none shall fill the disk, or take the worker's time."""
    seen = redact_text(text[:_LOOKED_AT])
    if len(text) > _LOOKED_AT or len(seen) > _LONGEST_VALUE:
        seen = f"{seen[:_LONGEST_VALUE]}… ({len(text)} characters)"
    return escaped(seen)


def _redacted(value: object) -> object:
    if isinstance(value, Mapping):
        pairs = ((str(k), v) for k, v in value.items())
        return {_shown(k): _HIDDEN if k.lower() in _SECRET_KEYS else _redacted(v) for k, v in pairs}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(each) for each in value]
    if type(value) in _HARMLESS:
        return value
    return _shown(str(value))
