"""The rows of `mcpServers`, each read by itself: a row that is wrong leaves out its own server and no other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from pydantic import ValidationError

from switchboard.config import placeholders
from switchboard.config.complaints import complaints, where
from switchboard.config.expansion import UnresolvedReference, expanded
from switchboard.config.layers import Layer, Place
from switchboard.config.model import SERVER_NAME, RowFault, provider_name
from switchboard.config.servers import ServerSection

SECTION: Final = "mcpServers"


@dataclass
class Rows:
    """What came of the rows."""

    sections: dict[str, ServerSection] = field(default_factory=dict)
    broken: dict[str, RowFault] = field(default_factory=dict)
    """Name → why there is no such server."""


def rows(
    servers: Mapping[str, Any],
    written: Sequence[Layer],
    variables: Mapping[str, str],
    taken: Collection[str],
    base: Path,
) -> Rows:
    """Read each row.

    Args:
        servers: the rows, as written.
        written: the layers, for what complaints say.
        variables: what references stand for.
        taken: names that plugins have.
        base: what relative paths in a row are relative to.
    """
    found, names = Rows(), set(taken)
    for name, row in servers.items():
        try:
            section = _section(name, row, variables, base)
        except _Wrong as error:
            found.broken[name] = RowFault(f"{where(written, error.place)}: {error}", error.unset)
            continue
        except ValidationError as error:
            found.broken[name] = RowFault("\n".join(complaints(written, error, ServerSection, (SECTION, name))))
            continue
        if (called := provider_name(name)) in names:
            place = where(written, (SECTION, name))
            found.broken[name] = RowFault(f"{place}: {_clash(called, is_plugin=called in taken)}")
            continue
        names.add(called)
        found.sections[name] = section
    return found


def _clash(name: str, *, is_plugin: bool) -> str:
    if not is_plugin:
        return f"two servers would both be called {name!r}; rename one"
    return (
        f"a plugin and a server would both be called {name!r}: rename the server, or switch the plugin off with"
        f" plugins.{name}.enabled: false"
    )


class _Wrong(Exception):
    """A row that cannot be read."""

    def __init__(self, place: Place, said: str, *, unset: bool = False) -> None:
        super().__init__(said)
        self.place = place
        self.unset = unset


def _section(name: str, row: object, variables: Mapping[str, str], base: Path) -> ServerSection:
    place = (SECTION, name)
    try:
        SERVER_NAME.validate_python(name)
    except ValidationError:
        raise _Wrong(place, "the name must be a text of 1 to 64 characters on one line") from None
    if not isinstance(row, Mapping):
        raise _Wrong(place, "must be an object: name and value")
    try:
        known = expanded(row, variables, place, kept=placeholders.NAMES)
        return ServerSection.model_validate(_with_env_file(known, base, place))
    except UnresolvedReference as error:
        if switched_off(row, variables):
            command = row.get("command")
            return ServerSection.model_construct(enabled=False, command=command if isinstance(command, str) else None)
        raise _Wrong(error.path, str(error), unset=True) from None


def switched_off(row: object, variables: Mapping[str, str]) -> bool:
    """Whether nothing is started of the row, so that what it needs may be missing."""
    if not isinstance(row, Mapping):
        return False
    for key, off in (("enabled", False), ("disabled", True), ("isActive", False)):
        try:
            said = expanded(row.get(key), variables)
        except UnresolvedReference:
            continue
        if said is off or (isinstance(said, str) and said.lower() == str(off).lower()):
            return True
    return False


def _with_env_file(row: Any, base: Path, place: Place) -> Any:
    """The row with the variables of its `env_file` beneath those of its `env`."""
    written = row.get("env_file", row.get("envFile"))
    if written is None or not isinstance(row.get("env", {}), Mapping):
        return row
    path = base / Path(str(written)).expanduser()
    try:
        found = dotenv_values(stream=StringIO(path.read_text(encoding="utf-8-sig")), interpolate=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is no text"
        raise _Wrong((*place, "env_file"), f"{path}: {reason}") from None
    return {**row, "env": {**{key: value for key, value in found.items() if value is not None}, **row.get("env", {})}}
