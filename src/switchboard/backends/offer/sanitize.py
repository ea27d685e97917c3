"""What a backend says of itself, made fit to be shown: to people on terminals, and to models that read every character.

Titles and descriptions lose what a reader does not see (ANSI sequences, control, bidirectional and other invisible
characters: a way to hide instructions); all else goes on as it is written, or the definition is left out and the reason
kept. So it is with one that is not valid, too large, or named twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp_types import Prompt, Resource, ResourceTemplate, Tool
from mcp_types.methods import validate_server_result
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION
from pydantic import BaseModel, ValidationError

from switchboard.backends.config import Bounds
from switchboard.backends.offer import schemas
from switchboard.backends.offer.schemas import DEPTH, Unfit
from switchboard.common.validation_messages import expected
from switchboard.common.visible_text import text
from switchboard.protocol.versions import fitted_definition

OPTIONAL_MEMBERS: Final = frozenset(
    {"annotations", "description", "execution", "icons", "mimeType", "size", "title", "_meta"}
)
"""Members of a definition that it can be offered without."""

UNOFFERED_NAMED: Final = 1_000
"""Definitions of a kind that are left out, each of which is told by its name."""

ICON_SCHEMES: Final = ("https:", "http:", "data:")
"""The schemes of an icon's `src`. https://modelcontextprotocol.io/specification/2025-11-25/basic#icons"""

PROGRAM_SCHEMES: Final = frozenset({"javascript", "livescript", "vbscript"})
"""Schemes of links that run a program where they are followed."""

GATEWAY_META: Final = "switchboard/"
"""`_meta` keys with which this gateway says something itself."""


@dataclass(frozen=True, slots=True)
class Unoffered:
    """A definition that was left out, or a part of one."""

    kind: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Form:
    """What one kind of definition looks like."""

    kind: str
    model: type[BaseModel]
    identity: str
    """The member on the wire that tells one from another."""

    method: str
    member: str
    """In whose result it is listed."""

    shaped: Callable[[dict[str, Any]], dict[str, Any]]
    """The definition as it may go on, from one with its texts cleaned."""


def runs_programs(uri: str) -> bool:
    """Whether following this link runs what stands in it. Browsers overlook blanks in a scheme."""
    return re.sub(r"[\x00-\x20]", "", uri.partition(":")[0]).lower() in PROGRAM_SCHEMES


def clean(form: Form, items: Sequence[Any], bounds: Bounds) -> tuple[list[Any], list[Unoffered]]:
    """The definitions that are fit to be offered, in order, as models; and the others. Does not await: may be slow."""
    kept: dict[str, Any] = {}
    unoffered: list[Unoffered] = []
    left = bounds.offer_bytes
    for item in items:
        try:
            if len(kept) >= bounds.items:
                raise Unfit(f"there are more than {bounds.items}")
            size = _size(item)
            if size > bounds.definition_bytes:
                raise Unfit(f"it is larger than {bounds.definition_bytes} bytes")
            if size > left:
                raise Unfit(f"all definitions together are larger than {bounds.offer_bytes} bytes")
            model, missing = _fit(form, item)
            identity = item[form.identity]
            if identity in kept:
                raise Unfit("it is listed twice; the first one counts")
        except Unfit as error:
            unoffered.append(Unoffered(form.kind, _name(form, item), str(error)))
            continue
        unoffered += [Unoffered(form.kind, _name(form, item), f"offered without {part}") for part in missing]
        kept[identity] = model
        left -= size
    return list(kept.values()), [*unoffered[:UNOFFERED_NAMED], *_more(form, unoffered[UNOFFERED_NAMED:])]


def _more(form: Form, untold: Sequence[Unoffered]) -> Iterator[Unoffered]:
    if untold:
        yield Unoffered(form.kind, f"{len(untold)} more", untold[0].reason)


def _fit(form: Form, item: Any) -> tuple[BaseModel, list[str]]:
    """The definition as a model, and what of it is left out because nothing depends on it."""
    if not isinstance(item, dict) or not isinstance(identity := item.get(form.identity), str) or not identity:
        raise Unfit(f"it has no {form.identity}")
    if text(identity) != identity:
        raise Unfit(f"its {form.identity} has hidden characters")
    shaped, missing = form.shaped(described(item)), list(_missing(item))
    while True:
        try:
            return _modelled(form, shaped), missing
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            path = [str(part) for part in first["loc"] if part not in (form.member, 0)]
            wrong = f"{'.'.join(path)} {expected(first)}"
            member = next((name for name in path if name in OPTIONAL_MEMBERS and name in shaped), None)
            if member is None:
                raise Unfit(wrong) from error
            del shaped[member]
            missing.append(f"{member}: {wrong}")


def _modelled(form: Form, shaped: Mapping[str, Any]) -> BaseModel:
    """The model, which both eras' clients can be sent."""
    model = form.model.model_validate(shaped, by_name=False)
    dumped = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    for version in (LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION):
        listed = {form.member: [fitted_definition(version, dumped)], "resultType": "complete", "ttlMs": 0}
        validate_server_result(form.method, version, {**listed, "cacheScope": "private"})
    return model


def described(item: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without nulls, with clean prose, and with icons that are some."""
    kept = {key: _prose(key, value) for key, value in item.items() if value is not None}
    if isinstance(kept.get("annotations"), dict):
        kept["annotations"] = {key: _prose(key, value) for key, value in kept["annotations"].items()}
    if "icons" in kept:
        kept["icons"] = [icon for icon in kept["icons"] if _is_icon(icon)] if isinstance(kept["icons"], list) else []
    if isinstance(kept.get("_meta"), dict):
        kept["_meta"] = {key: value for key, value in kept["_meta"].items() if not key.startswith(GATEWAY_META)}
    return kept


def _prose(key: str, value: Any) -> Any:
    return text(value) if key in schemas.PROSE and isinstance(value, str) else value


def _is_icon(icon: Any) -> bool:
    if not isinstance(icon, dict) or not isinstance(icon.get("src"), str):
        return False
    sizes = icon.get("sizes")
    fits = sizes is None or (isinstance(sizes, list) and all(isinstance(size, str) for size in sizes))
    return fits and icon["src"].lower().startswith(ICON_SCHEMES)


def _missing(item: Mapping[str, Any]) -> Iterator[str]:
    """What of a definition is left out although the rest is offered."""
    icons = item.get("icons") or []
    if not isinstance(icons, list) or not all(map(_is_icon, icons)):
        yield "icons that are not https or data URLs, or have no list of sizes"
    if isinstance(item.get("_meta"), dict) and any(key.startswith(GATEWAY_META) for key in item["_meta"]):
        yield f"_meta keys that begin with {GATEWAY_META!r}, which are this gateway's"


def _tool(item: dict[str, Any]) -> dict[str, Any]:
    if "inputSchema" not in item:
        raise Unfit("it has no inputSchema")
    item["inputSchema"] = schemas.arguments(item["inputSchema"], text)
    if "outputSchema" in item:
        item["outputSchema"] = schemas.outcome(item["outputSchema"], text)
    reason = find_invalid_x_mcp_header(item["inputSchema"])
    if reason is not None:
        raise Unfit(f"x-mcp-header: {reason}")
    return item


def _resource(item: dict[str, Any]) -> dict[str, Any]:
    if runs_programs(item.get("uri") or item.get("uriTemplate") or ""):
        raise Unfit("following its URI would run a program")
    if isinstance(item.get("name"), str):
        item["name"] = text(item["name"])  # here it only describes; the URI is what identifies
    return item


def _prompt(item: dict[str, Any]) -> dict[str, Any]:
    if isinstance(item.get("arguments"), list):
        item["arguments"] = [
            {key: _prose(key, value) for key, value in one.items() if value is not None}
            if isinstance(one, dict)
            else one
            for one in item["arguments"]
        ]
    return item


def _size(item: Any) -> int:
    if _depth_over(item, DEPTH):
        raise Unfit(f"it is nested more than {DEPTH} deep")
    try:
        return len(json.dumps(item, allow_nan=False))
    except ValueError as error:
        raise Unfit("it has a number that JSON has not") from error


def _depth_over(item: Any, most: int) -> bool:
    level = [item]
    for _ in range(most):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
        if not level:
            return False
    return any(isinstance(value, dict | list) for value in level)


def _name(form: Form, item: Any) -> str:
    name = item.get(form.identity) if isinstance(item, dict) else None
    return text(str(name))[:100]


TOOLS: Final = Form("tools", Tool, "name", "tools/list", "tools", _tool)
RESOURCES: Final = Form("resources", Resource, "uri", "resources/list", "resources", _resource)
TEMPLATES: Final = Form(
    "templates", ResourceTemplate, "uriTemplate", "resources/templates/list", "resourceTemplates", _resource
)
PROMPTS: Final = Form("prompts", Prompt, "name", "prompts/list", "prompts", _prompt)
