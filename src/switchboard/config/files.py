"""Reading the configuration file. Whatever is wrong with it ends as one `ConfigurationError` that says where."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import ValidationError

from switchboard.config.expansion import UnsetVariable, expanded
from switchboard.config.model import BUILT_IN, Configuration
from switchboard.errors import ConfigurationError

_PARSERS: Mapping[str, Callable[[str], object]] = {".toml": tomllib.loads, ".json": json.loads}
_LONGEST_VALUE_SHOWN = 80


def read(path: Path | None, variables: Mapping[str, str]) -> Configuration:
    """The configuration in the file, with `variables` expanded; the built-in one without a file.

    Raises:
        ConfigurationError: naming the file, the place in it, and the value as written (never as expanded: an expanded
            value may be a secret).
    """
    if path is None:
        return Configuration()
    written = _parsed(path)
    try:
        return Configuration.model_validate(_above_built_in(expanded(written, variables)))
    except UnsetVariable as error:
        raise ConfigurationError(f"{path}: {_place(error.path)}: the variable {error.variable} is not set") from error
    except ValidationError as error:
        raise ConfigurationError("\n".join(_complaints(path, written, error))) from None


def _parsed(path: Path) -> Mapping[str, object]:
    parse = _PARSERS.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"{path}: cannot read {path.suffix or 'a file without a suffix'}; use .toml or .json")
    try:
        document = parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path}: must be an object at the top, not {type(document).__name__}")
    return document


def _above_built_in(document: object) -> object:
    """Lay the file's plugins over the built-in ones, so that a row states only what differs."""
    if not isinstance(document, dict) or not isinstance(document.get("plugins", {}), dict):
        return document
    rows: dict[str, object] = {name: section.model_dump() for name, section in BUILT_IN.items()}
    for name, row in document.get("plugins", {}).items():
        beneath = rows.get(name)
        rows[name] = {"enabled": True, **_prefix(beneath), **row} if isinstance(row, dict) else row
    return {**document, "plugins": rows}


def _prefix(beneath: object) -> Mapping[str, object]:
    return {"prefix": beneath["prefix"]} if isinstance(beneath, dict) else {}


def _complaints(path: Path, written: Mapping[str, object], error: ValidationError) -> list[str]:
    return [
        f"{path}: {_place(item['loc'])}: {item['msg']}{_value(written, item['loc'])}"
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def _place(location: tuple[str | int, ...]) -> str:
    return ".".join(str(part) for part in location) or "the file"


def _value(written: object, location: tuple[str | int, ...]) -> str:
    """The value at `location` as the file has it; nothing where the file has none."""
    for part in location:
        if not isinstance(written, Mapping) or part not in written:
            return ""
        written = written[part]
    shown = repr(written)
    return f", not {shown if len(shown) <= _LONGEST_VALUE_SHOWN else shown[:_LONGEST_VALUE_SHOWN] + '…'}"
