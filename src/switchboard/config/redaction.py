"""A configuration as it can be shown to anybody: the values in force, without a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from switchboard.config.layers import Layer, Place, merged, value_at
from switchboard.config.model import Configuration
from switchboard.log import redact_text

HIDDEN: Final = "[hidden]"

_SECRET_SECTIONS = frozenset({"env", "headers"})
_SECRET_KEY = re.compile(r"(?i)(secret|passw|token|api.?key|credential|private|authorization|cookie)(?!_url$)")
_SECRET_ARGUMENT = re.compile(r"(?i)^(--?[\w-]*(?:secret|passw|token|key|auth|credential)[\w-]*)(?:=(.*))?$", re.DOTALL)
_SECRET_VALUE = re.compile(r"\b(sk-|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|AKIA|AIza|eyJ[\w-]+\.)[\w-]{8,}")
_IN_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)|(?<=\?)[^#\s]+")
_REFERENCE = re.compile(r"\$\{[A-Za-z_]")


def shown(configuration: Configuration, written: Sequence[Layer]) -> dict[str, Any]:
    """The configuration as a document, without what is left at its default.

    A value made with `${VAR}` is shown as it is written, for what it stands for may be a secret.
    """
    document = configuration.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {key: _shown(value, (key,), merged(written)) for key, value in document.items()}


def shown_as_written(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of a configuration as it is written, without a secret."""
    return {key: _shown(value, (key,), document) for key, value in document.items()}


def _shown(value: Any, place: Place, written: Any) -> Any:
    source = value_at(written, place)
    if isinstance(source, str) and _REFERENCE.search(source) and _only_references(source):
        return source
    if isinstance(value, Mapping):
        return {key: _shown(member, (*place, key), written) for key, member in value.items()}
    if isinstance(value, list):
        return [_item(value, index, place, written) for index in range(len(value))]
    if _is_secret(place) and value not in (None, ""):
        return HIDDEN
    if isinstance(source, str) and _REFERENCE.search(source):
        return without_credentials(source)
    return without_credentials(value) if isinstance(value, str) else value


def _only_references(text: str) -> bool:
    """Whether nothing but `${VAR}` without a default stands there: such a text holds no secret itself."""
    return not re.sub(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|Bearer |Basic ", "", text)


def _item(values: list[Any], index: int, place: Place, written: Any) -> Any:
    value, before = values[index], values[index - 1] if index else ""
    if isinstance(value, str) and place[-1] in ("args", "run_args"):
        source = value_at(written, (*place, index))
        if isinstance(source, str) and _REFERENCE.search(source):
            return source
        return _argument(value, before)
    return _shown(value, (*place, index), written)


def secrets_in_clear(row: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Where a secret seems to stand in a server's row, and a variable's name that could stand there instead."""
    for key in sorted(_SECRET_SECTIONS):
        values = row.get(key)
        for name, value in values.items() if isinstance(values, Mapping) else ():
            if isinstance(value, str) and not _REFERENCE.search(value) and _seems_secret(str(name), value):
                yield (key, name), _variable(str(name))
    for key in ("args", "run_args"):
        arguments = [each for each in row.get(key, ()) if isinstance(each, str)]
        for index, value in enumerate(arguments):
            before = arguments[index - 1] if index else ""
            if not _REFERENCE.search(value) and (HIDDEN in _argument(value, before) or _SECRET_VALUE.search(value)):
                yield (
                    (key, index),
                    _variable(_secret_name(value, before)),
                )
    url = row.get("url")
    if isinstance(url, str) and not _REFERENCE.search(url) and without_credentials(url) != url:
        yield ("url",), "KEY"


def _secret_name(value: str, before: str) -> str:
    """What the argument with a secret is called: by the option before it, or before its equals sign."""
    if _argument(value, before) == HIDDEN:
        return before
    name, equals, _ = value.partition("=")
    return name if equals else ""


def _seems_secret(name: str, value: str) -> bool:
    return bool(value) and bool(_SECRET_KEY.search(name) or _SECRET_VALUE.search(value))


def _variable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name.split("=")[0]).strip("_").upper() or "SECRET"


def without_secrets(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command without the values that look like a secret."""
    return [_argument(value, before) for before, value in zip(["", *arguments], arguments, strict=False)]


def _argument(value: str, before: str) -> str:
    option = _SECRET_ARGUMENT.match(value)
    if option:
        return f"{option[1]}={HIDDEN}" if option[2] else value
    follows = _SECRET_ARGUMENT.match(before)
    if follows and follows[2] is None:
        return HIDDEN
    name, equals, _ = value.partition("=")
    return f"{name}={HIDDEN}" if equals and _SECRET_KEY.search(name) else without_credentials(value)


def _is_secret(place: Place) -> bool:
    names = [step for step in place if isinstance(step, str)]
    return bool(_SECRET_SECTIONS.intersection(names[:-1]) or _SECRET_KEY.search(names[-1]))


def without_credentials(text: str) -> str:
    """`text` without what URLs carry: user, password and query."""
    return redact_text(_IN_URL.sub(HIDDEN, text))
