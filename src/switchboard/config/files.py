"""From layers to a configuration. Whatever is wrong ends as one `ConfigurationError` that says where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from switchboard.config.expansion import UnsetVariable, expanded
from switchboard.config.formats import parsed
from switchboard.config.layers import Layer, Place, from_environment, merged, origin, value_at
from switchboard.config.model import BUILT_IN, DEMO, Configuration, provider_name
from switchboard.errors import ConfigurationError

_LONGEST_VALUE_SHOWN = 80
_NEVER_SHOWN = frozenset({"env", "headers", "client_secret"})


def read(
    path: Path | None, variables: Mapping[str, str], *, overlay: Sequence[Mapping[str, Any]] = ()
) -> Configuration:
    """The configuration in force; the built-in one when no layer says anything.

    Args:
        path: the file; none is fine.
        variables: the environment: for `${VAR}`, and for the layer above the file.
        overlay: the uppermost layer, as patches in the order in which they apply.

    Raises:
        ConfigurationError: naming the layer, the place in it, and the value as written (never as expanded: an expanded
            value may be a secret).
    """
    return validated(layers(path, variables, overlay=overlay), variables)


def layers(
    path: Path | None, variables: Mapping[str, str], *, overlay: Sequence[Mapping[str, Any]] = ()
) -> tuple[Layer, ...]:
    """The layers above the built-in defaults, as written.

    Raises:
        ConfigurationError: one cannot be read.
    """
    file = [Layer(str(path), parsed(path))] if path is not None else []
    above = [from_environment(variables), *(Layer("the overlay", patch) for patch in overlay)]
    return (*file, *(layer for layer in above if layer.document))


def validated(written: Sequence[Layer], variables: Mapping[str, str]) -> Configuration:
    """The configuration that the layers make.

    Raises:
        ConfigurationError: with a line for each mistake.
    """
    if not written:
        return Configuration()
    try:
        return Configuration.model_validate(_above_built_in(expanded(merged(written), variables)))
    except UnsetVariable as error:
        where = f"{origin(written, error.path)}: {place_text(error.path)}"
        raise ConfigurationError(f"{where}: the variable {error.variable} is not set") from error
    except ValidationError as error:
        raise ConfigurationError("\n".join(_complaints(written, error))) from None


def _above_built_in(document: object) -> object:
    """Lay the file's plugins over the built-in ones, so that a row states only what differs.

    The demo steps back once there are servers, and a built-in plugin gives way to a server of its name, unless the file
    has a row for the plugin.
    """
    if not isinstance(document, dict) or not isinstance(document.get("plugins", {}), dict):
        return document
    rows: dict[str, object] = {name: section.model_dump() for name, section in BUILT_IN.items()}
    servers = document.get("mcpServers")
    if isinstance(servers, dict) and servers:
        taken = {provider_name(str(name)) for name in servers}
        rows[DEMO] = BUILT_IN[DEMO].model_copy(update={"enabled": False}).model_dump()
        rows = {name: row for name, row in rows.items() if name not in taken}
    for name, row in document.get("plugins", {}).items():
        beneath = BUILT_IN.get(name)
        rows[name] = (
            {"enabled": True, **({"prefix": beneath.prefix} if beneath else {}), **row}
            if isinstance(row, dict)
            else row
        )
    return {**document, "plugins": rows}


def _complaints(written: Sequence[Layer], error: ValidationError) -> Iterable[str]:
    document = merged(written)
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        place = tuple(step for step in item["loc"] if step != "[key]")
        message = item["msg"].removeprefix("Value error, ")
        yield f"{origin(written, place)}: {place_text(place)}: {message}{_value(document, place)}"


def place_text(place: Place) -> str:
    """A place as people read it."""
    return ".".join(str(part) for part in place) or "the file"


def _value(document: object, place: Place) -> str:
    """The value at `place` as it is written; nothing for a whole section, or where a secret may stand."""
    found = value_at(document, place)
    if found is ... or isinstance(found, dict | list) or _NEVER_SHOWN.intersection(place):
        return ""
    shown = repr(found)
    return f", not {shown if len(shown) <= _LONGEST_VALUE_SHOWN else shown[:_LONGEST_VALUE_SHOWN] + '…'}"
