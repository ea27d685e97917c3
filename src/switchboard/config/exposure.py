"""What a provider shows of what it has: the fields that plugins and servers share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Prefix = Literal["always", "conflict", "never"]
"""When a provider's name stands before the names of its tools and prompts."""

STRICT = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, populate_by_name=True)

MISTAKES: Final[dict[str, str]] = {}
"""What is said of a text that a pattern does not match, by the pattern."""


def matching(pattern: str, mistake: str) -> Any:
    """A text's pattern, with what is said of a text that it does not match."""
    MISTAKES[pattern] = mistake
    return Field(pattern=pattern)


Name = Annotated[
    str, matching(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", "may have letters, digits, '_', '.' and '-' only, 64 at most")
]
Tag = Annotated[
    str, matching(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$", "may have letters, digits, '_', '.' and '-' only, 32 at most")
]
Scope = Annotated[
    str, matching(r"^[\x21\x23-\x5B\x5D-\x7E]{1,128}$", "must be one scope, without blanks, quotes and backslashes")
]
"""RFC 6749 §3.3."""

Pattern = Annotated[str, Field(min_length=1, max_length=1024)]
"""`*` stands for any text, `?` for one character. Tools, unless `prompts:`, `resources:` or `templates:` stands before
it. It is held against the provider's own name (or URI) of a thing, without a prefix; for tools also against the name
that was made fit, and the one given by `rename`."""


AuditRate = Annotated[
    Literal["all", "off"] | Annotated[int, Field(ge=2, le=1_000_000)],
    BeforeValidator(lambda said: {True: "all", False: "off"}.get(said, said) if isinstance(said, bool) else said),
]
"""YAML reads `off` and `on` as booleans."""


class ToolRule(BaseModel):
    """What holds for the tools that a pattern names."""

    model_config = STRICT

    scopes: tuple[Scope, ...] = ()
    """A call needs a token with all of these; without them it is refused with 403, naming them. So does what a pattern
    about resources or prompts matches."""

    tags: tuple[Tag, ...] = ()
    """Added to the tags of the provider."""


class Exposure(BaseModel):
    """How what a provider offers is shown."""

    model_config = STRICT

    enabled: bool = True
    """`false` keeps the section, but nothing is started."""

    prefix: Prefix = "always"
    """When the provider's name stands before the names of its tools and prompts."""

    tags: tuple[Tag, ...] = ()
    """Labels that presets and `?tags=` select by."""

    allow: tuple[Pattern, ...] = ()
    """If patterns of a kind are given, only what they match is offered of that kind. Those about resources hold for
    every URI that is asked for, also where a template leads to it."""

    deny: tuple[Pattern, ...] = ()
    """What is never offered; stronger than `allow`. A resource is denied however its URI is written."""

    rename: Mapping[
        str,
        Annotated[
            str, matching(r"^[A-Za-z0-9_.-]{1,128}$", "may have letters, digits, '_', '.' and '-' only, 128 at most")
        ],
    ] = Field(default_factory=dict)
    """The provider's own tool name → the name shown instead (a prefix still stands before it)."""

    tools: Mapping[Pattern, ToolRule] = Field(default_factory=dict)
    """Pattern → what holds for the tools it matches."""

    audit: AuditRate | None = None
    """Which of its calls, reads and prompts are in the audit log: `all`, `off`, or a number N: one of N, drawn by lot.
    Without it, what `AUDIT_CALLS` says."""
