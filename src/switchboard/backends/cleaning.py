"""What a backend says of itself, made fit to be shown: to people on terminals, and to models that read every character.

Text loses what a reader does not see (ANSI sequences, control, bidirectional and other invisible characters: a way to
hide instructions). A definition that is not valid, too large, or named twice is left out, and the reason is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from jsonschema import SchemaError  # type: ignore[import-untyped]
from jsonschema.validators import Draft202012Validator, validator_for  # type: ignore[import-untyped]
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp_types import Prompt, Resource, ResourceTemplate, Tool
from pydantic import BaseModel, ValidationError

from switchboard.backends.description import Bounds
from switchboard.visible import text

DEPTH: Final = 64
REMEMBERED_BYTES: Final = 8_192


class Unfit(ValueError):
    """A definition that cannot be offered; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Unoffered:
    """A definition that was left out."""

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

    check: Callable[[Mapping[str, Any]], None]


def clean(form: Form, items: Sequence[Any], bounds: Bounds) -> tuple[list[Any], list[Unoffered]]:
    """The definitions that are fit to be offered, in order, as models; and the others. Does not await: may be slow."""
    kept: dict[str, Any] = {}
    unoffered: list[Unoffered] = []
    room = bounds.offer_bytes
    for item in items:
        try:
            if len(kept) >= bounds.items:
                raise Unfit(f"there are more than {bounds.items}")
            size = _size(item)
            if size > bounds.definition_bytes:
                raise Unfit(f"it is larger than {bounds.definition_bytes} bytes")
            if size > room:
                raise Unfit(f"all definitions together are larger than {bounds.offer_bytes} bytes")
            model = _fit(form, item)
            identity = item[form.identity]
            if identity in kept:
                raise Unfit("it is listed twice; the first one counts")
        except Unfit as error:
            unoffered.append(Unoffered(form.kind, _name(form, item), str(error)))
            continue
        kept[identity] = model
        room -= size
    return list(kept.values()), unoffered


def _fit(form: Form, item: Any) -> BaseModel:
    if not isinstance(item, dict) or not isinstance(identity := item.get(form.identity), str) or not identity:
        raise Unfit(f"it has no {form.identity}")
    if text(identity) != identity:
        raise Unfit(f"its {form.identity} has hidden characters")
    try:
        form.check(item)
        return form.model.model_validate(_cleaned(item, 0), by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Unfit(f"{where}: {first['msg']}") from error


def _cleaned(value: Any, depth: int) -> Any:
    if depth > DEPTH:
        raise Unfit(f"it is nested more than {DEPTH} deep")
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _cleaned(item, depth + 1) for key, item in value.items()}
    return value


def _check_tool(item: Mapping[str, Any]) -> None:
    for member in ("inputSchema", "outputSchema"):
        if member in item:
            _check_schema(member, item[member])
    reason = find_invalid_x_mcp_header(item.get("inputSchema"))
    if reason is not None:
        raise Unfit(f"x-mcp-header: {reason}")


def _check_schema(member: str, schema: Any) -> None:
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise Unfit(f"{member} is not a schema of an object")
    for ref in _references(schema, 0):
        if not ref.startswith("#"):
            raise Unfit(f"{member} refers to {ref[:100]!r}, outside of itself")
    written = json.dumps(schema)
    fault = (_fault if len(written) <= REMEMBERED_BYTES else _fault.__wrapped__)(written)
    if fault:
        raise Unfit(f"{member} is not a JSON Schema: {fault}")


@lru_cache(maxsize=2048)
def _fault(written: str) -> str:
    """What is wrong with a schema. Checking one takes milliseconds, and backends are asked again and again."""
    schema = json.loads(written)
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        return f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}"
    except RecursionError:
        return "it is nested too deep"
    return ""


def _references(schema: Any, depth: int) -> Iterator[str]:
    if depth > DEPTH:
        raise Unfit(f"it is nested more than {DEPTH} deep")
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in ("$ref", "$dynamicRef") and isinstance(value, str):
                yield value
            else:
                yield from _references(value, depth + 1)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value, depth + 1)


def _size(item: Any) -> int:
    try:
        return len(json.dumps(item))
    except (ValueError, RecursionError) as error:
        raise Unfit("it is nested too deep") from error


def _name(form: Form, item: Any) -> str:
    name = item.get(form.identity) if isinstance(item, dict) else None
    return text(str(name))[:100]


def _anything_goes(_item: Mapping[str, Any]) -> None:
    """No check beyond the model's."""


TOOLS: Final = Form("tools", Tool, "name", _check_tool)
RESOURCES: Final = Form("resources", Resource, "uri", _anything_goes)
TEMPLATES: Final = Form("templates", ResourceTemplate, "uriTemplate", _anything_goes)
PROMPTS: Final = Form("prompts", Prompt, "name", _anything_goes)
