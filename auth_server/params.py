"""Parameters of a request, parsed once: raw strings, repeated names noticed (RFC 6749 §3.1: none may be repeated)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.requests import Request

from auth_server.errors import Refusal

MAX_FIELDS = 64
MAX_VALUE = 8_192
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Params:
    """What was sent, by name. `resource` alone may repeat (RFC 8707 §2)."""

    values: dict[str, str]
    resources: tuple[str, ...] = ()
    repeated: frozenset[str] = frozenset()

    def get(self, name: str) -> str:
        """A parameter; one sent without a value counts as not sent (RFC 6749 §3.1)."""
        return self.values.get(name, "")

    def require(self, name: str) -> str:
        """A parameter that must be there."""
        value = self.get(name)
        if not value:
            raise Refusal("invalid_request", f"{name} is missing")
        return value

    def refuse_repeated(self) -> Params:
        """These parameters, if none is repeated."""
        if self.repeated:
            raise Refusal("invalid_request", f"{sorted(self.repeated)[0]} is repeated")
        return self


def parse(text: str) -> Params:
    """Parameters of a query string or a form body."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refusal("invalid_request", "the parameters are not well-formed") from error
    if any(len(value) > MAX_VALUE for _, value in pairs):
        raise Refusal("invalid_request", "a parameter is too long")
    counts = Counter(name for name, _ in pairs if name != "resource")
    resources = tuple(dict.fromkeys(value for name, value in pairs if name == "resource" and value))
    known = frozenset(name for name, count in counts.items() if count > 1 and name.isidentifier())
    return Params({name: value for name, value in pairs if name != "resource"}, resources, known)


async def form(request: Request) -> Params:
    """Parameters of a form body; the query is not looked at, so that no secret is ever accepted there."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != FORM:
        raise Refusal("invalid_request", f"the body must be {FORM}")
    try:
        text = (await request.body()).decode()
    except UnicodeDecodeError as error:
        raise Refusal("invalid_request", "the body is not UTF-8") from error
    return parse(text)
