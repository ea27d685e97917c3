"""Remembers every token, code, secret, verifier and cookie that this process's HTTP clients send or are given.

So that a log can be searched for them. Everything is taken apart into runs of the characters that secrets are made of;
a run of 16 or more that a secret has in common with a log has no business there.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import httpx2

SECRET_NAMES = frozenset(
    {"code", "code_verifier", "access_token", "refresh_token", "id_token", "token", "client_secret", "assertion"}
    | {"client_assertion", "subject_token", "actor_token", "logout_token", "registration_access_token"}
    | {"transaction", "csrf", "state"}
)
"""Members of forms, queries and JSON bodies; `state` is what the fake provider's and the upstream's pages go by."""

_RUN = re.compile(r"[A-Za-z0-9_-]{16,}")
_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
_FAMILY = re.compile(r"sb[car]_([A-Za-z0-9_-]{22})")
"""What all tokens of one authorization have in common."""


def runs(text: str) -> set[str]:
    """The runs of characters that could be a secret, or a part of one."""
    return {*_RUN.findall(text), *_FAMILY.findall(text)}


def _is_words(run: str) -> bool:
    """Whether a run is words, which are no secrets: without digits, and in one case.

    Of 22 random characters, the shortest secret there is, one in 40 has no digit; one in 30 million is such a run.
    """
    return not any(map(str.isdigit, run)) and (run == run.lower() or run == run.upper())


class Wiretap:
    """Everything secret that was seen so far."""

    def __init__(self) -> None:
        self.secrets: set[str] = set()

    def found_in(self, text: str) -> set[str]:
        """The secrets, or their parts, that stand in a log."""
        return self.secrets & runs(text)

    def note(self, values: Iterable[str]) -> None:
        """Remember values as secrets."""
        for value in values:
            self.secrets |= {run for run in runs(value) if not _is_words(run)}

    def passed(self, response: httpx2.Response) -> None:
        """Remember what a response carries, and the request that it answers."""
        request, headers = response.request, response.headers
        self.note(_members(parse_qsl(request.url.query.decode("ascii", "replace"))))
        self.note(_credentials(request.headers.get("authorization", "")))
        self.note(_values(request.headers.get("cookie", "").split(";")))
        self.note(_of_body(request.headers.get("content-type", ""), _content(request)))
        self.note(_members(parse_qsl(urlsplit(headers.get("location", "")).query)))
        self.note(_values(headers.get_list("set-cookie")))
        self.note(_of_body(headers.get("content-type", ""), _content(response)))


def _content(message: httpx2.Request | httpx2.Response) -> bytes:
    """The body, if it was read; a stream is left alone."""
    try:
        return message.content
    except httpx2.StreamError:
        return b""


def _members(pairs: Iterable[tuple[str, Any]]) -> Iterator[str]:
    return (value for name, value in pairs if name in SECRET_NAMES and isinstance(value, str))


def _values(cookies: Iterable[str]) -> Iterator[str]:
    return (cookie.partition("=")[2].partition(";")[0] for cookie in cookies)


def _credentials(header: str) -> Iterator[str]:
    """A bearer token; the password of basic credentials, and how it is written there."""
    scheme, _, value = header.partition(" ")
    yield value
    if scheme.lower() == "basic":
        try:
            pair = base64.b64decode(value.encode("latin-1", "ignore")).decode("latin-1")
        except binascii.Error:
            return
        yield unquote_plus(pair.partition(":")[2])


def _of_body(kind: str, body: bytes) -> Iterator[str]:
    text = body.decode(errors="replace")
    if kind.startswith("application/x-www-form-urlencoded"):
        yield from _members(parse_qsl(text, max_num_fields=10_000))
    elif kind.startswith("text/html"):
        yield from _members(_HIDDEN.findall(text))
    elif kind.startswith("application/json"):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return
        if isinstance(found, Mapping):
            yield from _members(found.items())
