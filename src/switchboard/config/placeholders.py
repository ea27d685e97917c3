"""`${user}` and `${session}` in a server's row: whose connection it is, for what else the server keeps than its memory.

Digests, so that they can stand in the name of a file and tell nobody's name. They are resolved when a connection is
opened, and mean something in a few fields only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

NAMES: Final = ("user", "session")
FIELDS: Final = ("args", "cwd", "env", "headers", "run_args")
"""Where they mean something."""

_REFERENCE: Final = re.compile(r"\$\{(user|session)\}")


def names_in(value: object) -> frozenset[str]:
    """Which of them stand in a value, or in what is in it."""
    if isinstance(value, Mapping):
        return frozenset().union(*(names_in(each) for each in value.values()))
    if isinstance(value, list | tuple):
        return frozenset().union(*(names_in(each) for each in value))
    return frozenset(_REFERENCE.findall(str(value)))


def replaced(text: str, whose: Mapping[str, str]) -> str:
    """A text with both of them replaced."""
    return _REFERENCE.sub(lambda found: whose[found[1]], text)


def mistakes(row: Mapping[str, Any], scope: str | None, *, at_url: bool) -> Iterator[str]:
    """What is wrong with their use in a row."""
    for field, value in row.items():
        for name in sorted(names_in(value) if field not in FIELDS else ()):
            yield f"${{{name}}} in {field!r} stands for nothing: it can be used in {', '.join(FIELDS)}"
    used = frozenset().union(*(names_in(row.get(field)) for field in FIELDS))
    default = "shared" if at_url else "session"
    fitting = {"user": ("user", "session"), "session": ("session",)}
    for name in sorted(used):
        if (scope or default) not in fitting[name]:
            shared = (scope or default) == "shared"
            whose = "everybody shares a connection" if shared else "a person's sessions share one"
            wanted = " or ".join(f"`scope: {each}`" for each in fitting[name])
            yield f"${{{name}}} has no one value where {whose}: it needs {wanted}"
