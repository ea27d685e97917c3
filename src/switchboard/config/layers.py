"""What lies on what: built-in defaults, the file, the environment, the fleet's overlay. Later ones win.

A layer above the file is a merge patch (RFC 7396): objects are merged, everything else replaces, and `null` takes away.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dotenv import dotenv_values

from switchboard.config.formats import json_object
from switchboard.errors import ConfigurationError

OVERRIDES = "CONFIG_OVERRIDES"
"""The variable with the environment's layer, a JSON object: `{"plugins": {"everything": {"enabled": false}}}`."""

Place = tuple[str | int, ...]


@dataclass(frozen=True)
class Layer:
    """One document, and what to call it in a complaint."""

    origin: str
    document: Mapping[str, Any]


def from_environment(variables: Mapping[str, str]) -> Layer:
    """The environment's layer; empty when the variable is not set.

    Raises:
        ConfigurationError: it is not a JSON object.
    """
    text = variables.get(OVERRIDES, "").strip() or "{}"
    try:
        document = json_object(text)
    except ValueError as error:
        raise ConfigurationError(f"{OVERRIDES}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigurationError(f"{OVERRIDES}: must be a JSON object, not {type(document).__name__}")
    return Layer(OVERRIDES, document)


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """All layers as one document."""
    document: dict[str, Any] = {}
    for layer in layers:
        document = patched(document, layer.document)
    return document


def patched(document: Any, patch: Any) -> Any:
    """RFC 7396 §2; changes neither."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(document) if isinstance(document, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = patched(result.get(key), value)
    return result


def origin(layers: Sequence[Layer], place: Place) -> str:
    """The uppermost layer that says something at `place`, or else nearest above it."""
    depths = [(depth(layer.document, place), index) for index, layer in enumerate(layers)]
    return layers[max(depths)[1]].origin


def depth(document: object, place: Place) -> int:
    """How many steps of `place` the document has."""
    return len(list(_walked(document, place)))


def value_at(document: object, place: Place) -> object:
    """What the document has there; `...` where it has nothing."""
    found = [document, *_walked(document, place)]
    return found[-1] if len(found) > len(place) else ...


def _walked(document: object, place: Place) -> Iterator[object]:
    """What stands at each step of `place`, as far as the document goes."""
    for part in place:
        is_member = isinstance(document, Mapping) and part in document
        is_item = isinstance(document, list) and isinstance(part, int) and part < len(document)
        if not (is_member or is_item):
            return
        document = cast("Any", document)[part]
        yield document


def variables(environ: Mapping[str, str], env_file: Path | str | None = ".env") -> dict[str, str]:
    """All of them; read anew, so that a changed file counts."""
    written = dotenv_values(env_file) if env_file is not None else {}
    return {**{key: value for key, value in written.items() if value is not None}, **environ}
