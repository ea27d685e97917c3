"""`${VAR}` and `${VAR:-default}` in the values of the configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class UnsetVariable(LookupError):
    """A variable without a default is not set."""

    def __init__(self, variable: str, path: tuple[str | int, ...]) -> None:
        super().__init__(variable)
        self.variable = variable
        self.path = path


def expanded(value: object, variables: Mapping[str, str], path: tuple[str | int, ...] = ()) -> object:
    """`value` with every reference in every string replaced. As in a shell, `:-` counts an empty variable as unset.

    Raises:
        UnsetVariable: with the path of the value that needs it.
    """
    if isinstance(value, str):
        return _REFERENCE.sub(lambda reference: _looked_up(reference, variables, path), value)
    if isinstance(value, Mapping):
        return {key: expanded(member, variables, (*path, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [expanded(member, variables, (*path, index)) for index, member in enumerate(value)]
    return value


def _looked_up(reference: re.Match[str], variables: Mapping[str, str], path: tuple[str | int, ...]) -> str:
    name: str = reference[1]
    default: str | None = reference[2]
    value = variables.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise UnsetVariable(name, path)
    return value
