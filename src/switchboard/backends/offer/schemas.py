"""JSON Schemas as backends write them, of drafts 4 to 2020-12: where schemas stand in them, and what is refused.

A keyword goes on as it is written; `pattern` and the like are ECMA-262's and are never compiled here. What stands in
`default`, `const`, `enum`, `examples` or in a keyword that no draft knows is data, whatever it looks like. Titles and
descriptions lose what a reader does not see, and members that are null count as left out.

https://json-schema.org/draft/2020-12/json-schema-core
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

from jsonschema import FormatChecker, SchemaError  # type: ignore[import-untyped]
from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]

DEPTH: Final = 64
CACHED_BYTES: Final = 8_192

SCHEMA_KEYWORDS: Final = frozenset(
    {
        "additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not",
        "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties",
    }
)  # fmt: skip
"""Keywords with a schema."""

SCHEMA_LIST_KEYWORDS: Final = frozenset({"allOf", "anyOf", "items", "oneOf", "prefixItems"})
"""Keywords with a list of schemas."""

SCHEMA_MAP_KEYWORDS: Final = frozenset(
    {"$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)
"""Keywords with schemas by name."""

OBJECT_KEYWORDS: Final = SCHEMA_MAP_KEYWORDS | {"dependentRequired", "$vocabulary"}
"""Keywords with an object, for which some languages write an empty list."""

PROSE: Final = frozenset({"title", "description"})
NULLABLE: Final = frozenset({"const", "default"})
"""Keywords that may well be null."""

REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")


class Unfit(ValueError):
    """A definition that cannot be offered; the message is the reason."""


def arguments(schema: Any, clean: Callable[[str], str]) -> dict[str, Any]:
    """The schema of a tool's arguments, fit to be offered: that of an object.

    Raises:
        Unfit: naming what is wrong.
    """
    if schema is True or schema == []:  # some languages write an empty object so
        schema = {}
    if not isinstance(schema, dict):
        raise Unfit("inputSchema is not a schema of an object")
    fit = _fit("inputSchema", schema, clean)
    kind = fit.get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        raise Unfit("inputSchema is not a schema of an object")
    return {**fit, "type": "object"}  # arguments are always an object, whatever else the schema would take


def outcome(schema: Any, clean: Callable[[str], str]) -> dict[str, Any] | None:
    """The schema of a tool's structured result, of whatever type; `None` if it says nothing.

    Raises:
        Unfit: naming what is wrong.
    """
    if schema is None or schema is True or schema == []:
        return None
    if not isinstance(schema, dict):
        raise Unfit("outputSchema is not a JSON Schema that a result could fit")
    return _fit("outputSchema", schema, clean)


def _fit(member: str, schema: dict[str, Any], clean: Callable[[str], str]) -> dict[str, Any]:
    found = _Schemas(schema)
    for reference in found.outside():
        raise Unfit(f"{member} refers to {clean(reference)[:100]!r}, outside of itself")
    written: dict[str, Any] = found.written(schema, clean)
    checked = json.dumps(_as_2020(written, _Schemas(written)))
    fault = (_fault if len(checked) <= CACHED_BYTES else _fault.__wrapped__)(checked)
    if fault:
        raise Unfit(f"{member} is not a JSON Schema: {clean(fault)}")
    return written


class _Schemas:
    """Which objects of a document are schemas, and which hold schemas by name."""

    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self._bases: dict[int, str] = {}
        """Schema → the URI that its references are relative to."""
        self._schema_maps: set[int] = set()
        self._resources: set[str] = {""}
        self._references: list[tuple[str, str]] = []
        self._visit(root, "", 0)
        self._visit_targets()

    def is_schema(self, value: Any) -> bool:
        """Whether keywords stand in it."""
        return id(value) in self._bases

    def is_schema_map(self, value: Any) -> bool:
        """Whether its members are schemas."""
        return id(value) in self._schema_maps

    def outside(self) -> Iterator[str]:
        """The references that lead out of the document."""
        for reference, base in self._references:
            if not self._is_inside(reference, base):
                yield reference

    def written(self, value: Any, clean: Callable[[str], str]) -> Any:
        """A copy: titles and descriptions cleaned, nulls and lists for empty objects mended, all else as it is."""
        if isinstance(value, list):
            return [self.written(item, clean) for item in value]
        if not isinstance(value, dict):
            return value
        if self.is_schema_map(value):
            return {name: self.written(each, clean) for name, each in value.items() if each is not None}
        if not self.is_schema(value):
            return {key: self.written(each, clean) for key, each in value.items()}
        copy: dict[str, Any] = {}
        for key, each in value.items():
            if each is None and key not in NULLABLE:
                continue
            if key in PROSE and isinstance(each, str):
                copy[key] = clean(each)
            elif key in OBJECT_KEYWORDS and each == []:
                copy[key] = {}
            else:
                copy[key] = self.written(each, clean)
        return copy

    # -- finding them -------------------------------------------------------------------------------------------------

    def _visit(self, value: Any, base: str, depth: int) -> None:
        if depth > DEPTH:
            raise Unfit(f"it is nested more than {DEPTH} deep")
        if not isinstance(value, dict) or id(value) in self._bases:
            return
        base = self._identified(value, base)
        self._bases[id(value)] = base
        self._references += [(value[key], base) for key in REFERENCES if isinstance(value.get(key), str)]
        for key, each in value.items():
            if key in SCHEMA_LIST_KEYWORDS and isinstance(each, list):
                for item in each:
                    self._visit(item, base, depth + 2)
            elif key in SCHEMA_MAP_KEYWORDS and isinstance(each, dict):
                self._schema_maps.add(id(each))
                for item in each.values():
                    self._visit(item, base, depth + 2)
            elif key in SCHEMA_KEYWORDS:
                self._visit(each, base, depth + 1)

    def _identified(self, schema: Mapping[str, Any], base: str) -> str:
        """The base URI inside a schema; `id` is draft 4's word."""
        for key in ("$id", "id"):
            if isinstance(named := schema.get(key), str) and not named.startswith("#"):
                resource = urldefrag(_joined(base, named)).url
                self._resources |= {resource, urldefrag(named).url}
                return resource
        return base

    def _visit_targets(self) -> None:
        """Where a pointer leads to stands a schema too, also under a keyword that no draft knows."""
        seen = 0
        while seen < len(self._references):
            reference, base = self._references[seen]
            seen += 1
            target = self._pointed(urldefrag(reference).fragment) if self._is_inside(reference, base) else None
            self._visit(target, base, 0)

    def _pointed(self, fragment: str) -> Any:
        """What a JSON pointer (RFC 6901 §6) leads to from the root; `None` for nothing."""
        value: Any = self._root
        for step in unquote(fragment).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(value, dict):
                value = value.get(name)
            elif isinstance(value, list) and name.isascii() and name.isdigit() and int(name) < len(value):
                value = value[int(name)]
            else:
                return None
        return value

    def _is_inside(self, reference: str, base: str) -> bool:
        resource = urldefrag(reference).url
        return not resource or resource in self._resources or urldefrag(_joined(base, resource)).url in self._resources


def _joined(base: str, reference: str) -> str:
    try:
        return urljoin(base, reference)
    except ValueError:  # no URI, so it names nothing but itself
        return reference


def _as_2020(value: Any, schemas: _Schemas) -> Any:
    """The schema in the words of 2020-12, for checking it: what earlier drafts wrote otherwise is rewritten."""
    if isinstance(value, list):
        return [_as_2020(item, schemas) for item in value]
    if not isinstance(value, dict):
        return value
    if not schemas.is_schema(value):
        return {key: _as_2020(each, schemas) for key, each in value.items()}
    rewritten: dict[str, Any] = {}
    for key, each in value.items():
        if key in ("exclusiveMinimum", "exclusiveMaximum", "$recursiveAnchor") and isinstance(each, bool):
            continue
        if key == "$id" and isinstance(each, str) and "#" in each:
            continue
        if key == "examples" and not isinstance(each, list):
            continue
        rewritten["prefixItems" if key == "items" and isinstance(each, list) else key] = _as_2020(each, schemas)
    if rewritten.get("prefixItems") == []:
        del rewritten["prefixItems"]
    return rewritten


@lru_cache(maxsize=2048)
def _fault(written: str) -> str:
    """What is wrong with a schema. Checking one takes milliseconds, and backends are asked again and again."""
    schema = json.loads(written)
    try:
        Draft202012Validator.check_schema(schema, format_checker=FormatChecker(formats=()))
    except SchemaError as error:
        return f"{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:200]}"
    except RecursionError:
        return "it is nested too deep"
    return ""
