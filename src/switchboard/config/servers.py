"""One row of `mcpServers`: a server as desktop clients write it, and what they have no word for.

How it is launched is stated by what is given: a `command`, a `url`, or a `source` with its own fields. Each kind of
source has a row in `NEEDS`, which says what it needs and what else it takes; a field of another kind is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, model_validator

from switchboard.common.hosts import is_loopback
from switchboard.config import auth as authorization
from switchboard.config import placeholders
from switchboard.config.auth import STRATEGIES, VARIABLE, Auth, Headers
from switchboard.config.exposure import Exposure, matching
from switchboard.config.importing import tool_lists


def complaint(url: str, *, insecure: bool) -> str | None:
    """What is wrong with a server's URL; nothing when it is fine. Says nothing of what may be a secret."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "a URL must start with https:// or http:// and name a host"
    if parts.username or parts.password:
        return "a URL must not carry a user or password; state them in 'headers'"
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        return f"plain http to {parts.hostname} can be read and changed on the way; use https, or set 'insecure'"
    return None


SourceKind = Literal["command", "url", "npm", "pypi", "git", "docker", "local"]
Transport = Literal["stdio", "http", "sse"]
Era = Literal["auto", "modern", "handshake"]
ConnectionScope = Literal["shared", "user", "session"]

TRANSPORTS: Mapping[str, Transport] = {"streamable-http": "http", "streamable_http": "http", "streamableHttp": "http"}
"""Other words for a transport → ours."""

IGNORED = frozenset({"alwaysAllow", "autoApprove", "gallery", "icon", "iconPath"})
"""What desktop clients keep in a row for themselves: accepted, and without an effect."""

Environment = Mapping[Annotated[str, VARIABLE], str]
Word = Annotated[str, Field(min_length=1), matching(r"^[^\s-][^\s]*$", "must have no blanks and not begin with '-'")]
"""Something that stands on a command line of ours: no blanks, and never read as an option."""


class ServerSection(Exposure):
    """One server."""

    source: SourceKind = "command"
    """Where the server comes from. Told by `command` or `url` when not given."""

    description: str = ""
    """For people; shown by `servers list`."""

    # Started here
    command: str | None = None
    """The program to start; for `git` and `local`, what to start inside the folder instead of what was found there."""
    args: tuple[str, ...] = ()
    """Arguments of the command, or of the server that a source brings."""
    env: Annotated[Environment, Field(repr=False)] = Field(default_factory=dict)
    """Added to the environment of the child, which otherwise gets only what no secret is kept in."""
    env_file: Annotated[Path | None, Field(validation_alias=AliasChoices("env_file", "envFile"))] = None
    """A file with more such variables, `NAME=value` a line; `env` wins. It is read with the configuration."""
    cwd: Path | None = None
    """The folder the child starts in."""

    # Reached over HTTP
    url: str | None = None
    """Where the server is."""
    urls: tuple[str, ...] = ()
    """Several addresses of the same server: balanced, failed over."""
    transport: Annotated[Transport | None, Field(validation_alias=AliasChoices("type", "transport"))] = None
    """`stdio`, `http` (Streamable HTTP) or `sse` (the transport of 2024-11-05, told by a URL that ends in `/sse`)."""
    headers: Annotated[Headers, Field(repr=False)] = Field(default_factory=dict)
    """Sent with every request."""
    insecure: bool = False
    """Allow plain http to another machine: everything sent there can be read and changed on the way."""

    # Brought by a source
    package: Word | None = None
    """The package's name at npm or PyPI."""
    version: Word | None = None
    """A version of the package, or a tag of the image. Without one the newest is installed once, and kept."""
    bin: Word | None = None
    """Which program of the package to start, when it has several."""
    extras: tuple[Word, ...] = ()
    """More packages to install beside a `pypi` one."""
    repository: Word | None = None
    """A git repository: an https or ssh URL, `git@host:path`, or a folder."""
    branch: Word | None = None
    """What to check out: a branch, …"""
    tag: Word | None = None
    """… a tag …"""
    commit: Annotated[str | None, matching(r"^[0-9a-fA-F]{7,64}$", "must be a commit: 7 to 64 hexadecimal digits")] = (
        None
    )
    """… or a commit; else the default branch. It stays at the commit that it was at first."""
    path: Path | None = None
    """The folder or file of a `local` server; of a `git` one, the folder inside the repository."""
    image: Word | None = None
    """A Docker image, run with `docker run -i --rm`."""
    run_args: tuple[str, ...] = ()
    """More options for `docker run`."""

    # How it is talked to
    era: Era = "auto"
    """Which protocol era to speak: tried out when `auto`."""
    scope: ConnectionScope | None = None
    """Who shares a connection. Default: `shared` for modern HTTP servers, `session` for all others."""
    timeout: Annotated[float, Field(gt=0, le=86400)] = 60
    """Seconds a request may take without a sign of life."""
    start_timeout: Annotated[float, Field(gt=0, le=3600)] = 30
    """Seconds the server may take to start and to say what it offers; installing does not count."""
    idle_timeout: Annotated[float, Field(gt=0)] = 300
    """Seconds after which an unused connection is closed and its child ended."""
    connections: Annotated[int, Field(ge=1)] = 100
    """How many connections, or children, a worker may have to this server."""
    connections_per_user: Annotated[int, Field(ge=1)] = 10
    """How many of them may be one person's, on all workers together."""
    connections_of_fleet: Annotated[int, Field(ge=1)] = 1000
    """How many connections all workers together may have to this server."""
    message_bytes: Annotated[int, Field(ge=65_536, le=268_435_456)] = 8_388_608
    """How large a message of the server may be. A larger one is an error of its call; the connection stays."""
    definitions: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """How many tools it may offer, and how many resources, templates and prompts."""
    definition_bytes: Annotated[int, Field(ge=1_024, le=16_777_216)] = 131_072
    """How large one of these definitions may be …"""
    definitions_bytes: Annotated[int, Field(ge=1_024, le=268_435_456)] = 8_388_608
    """… and how large all of one kind together; what is larger is left out, and `servers list` says so."""
    auth: Auth = Auth()
    """How calls to the server are authorized."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """All URLs, the first one first."""
        return (*((self.url,) if self.url else ()), *self.urls)

    @model_validator(mode="before")
    @classmethod
    def _normalized(cls, row: Any) -> Any:
        return normalized(row) if isinstance(row, Mapping) else row

    @model_validator(mode="after")
    def _fits_its_source(self) -> ServerSection:
        mistakes = list(_mistakes(self))
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self


def normalized(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the words of desktop clients turned into ours, and its source stated.

    Raises:
        ValueError: a list of tools that is none.
    """
    own = tool_lists.joined_tool_lists(
        {key: value for key, value in row.items() if key not in IGNORED and value is not None}
    )
    if "disabled" in own and "enabled" not in own and isinstance(own["disabled"], bool):
        own["enabled"] = not own.pop("disabled")
    for other, ours in (("serverUrl", "url"), ("httpUrl", "url"), ("transportType", "type")):
        if other in own and ours not in own:
            own[ours] = own.pop(other)
    for key in ("type", "transport"):
        if isinstance(own.get(key), str):
            own[key] = TRANSPORTS.get(own[key], own[key])
    if isinstance(own.get("auth"), Mapping) and own["auth"].get("strategy") in STRATEGIES:
        own["auth"] = {**own["auth"], "strategy": STRATEGIES[own["auth"]["strategy"]]}
    if "source" not in own:
        own["source"] = "url" if "url" in own or "urls" in own else "command"
    return own


@dataclass(frozen=True)
class Needs:
    """What one kind of source is described by."""

    required: Sequence[Sequence[str]]
    """Of each group, one field at least."""

    optional: Sequence[str] = ()
    transports: Sequence[Transport] = ("stdio",)


_CHILD = ("args", "env", "env_file", "cwd")
_REMOTE = ("url", "urls", "headers", "insecure")
_PACKAGE = ("package", "version", "bin", *_CHILD)

NEEDS: Mapping[SourceKind, Needs] = {
    "command": Needs([["command"]], _CHILD),
    "url": Needs([["url", "urls"]], _REMOTE, ("http", "sse")),
    "npm": Needs([["package"]], _PACKAGE),
    "pypi": Needs([["package"]], (*_PACKAGE, "extras")),
    "git": Needs([["repository"]], ("branch", "tag", "commit", "path", "command", "bin", "insecure", *_CHILD)),
    "local": Needs([["path"]], ("command", "bin", *_CHILD)),
    "docker": Needs([["image"]], ("version", "run_args", "args", "env", "env_file")),
}


def _known(needs: Needs) -> frozenset[str]:
    return frozenset([*needs.optional, *(field for group in needs.required for field in group)])


def foreign_fields(source: SourceKind) -> frozenset[str]:
    """The fields that say how other kinds of source are launched, and mean nothing for this one."""
    return _LAUNCHING - _known(NEEDS[source])


_LAUNCHING = frozenset[str]().union(*(_known(needs) for needs in NEEDS.values()))


def _mistakes(section: ServerSection) -> Iterator[str]:
    needs = NEEDS[section.source]
    for group in needs.required:
        if not any(getattr(section, field) for field in group):
            yield f"a server from {section.source!r} needs {' or '.join(repr(field) for field in group)}"
    foreign = sorted(foreign_fields(section.source) & section.model_fields_set)
    if foreign:
        yield f"{foreign[0]!r} means nothing for a server from {section.source!r}"
    if section.transport is not None and section.transport not in needs.transports:
        yield f"a server from {section.source!r} is not reached over {section.transport!r}"
    addresses = (*section.addresses, *authorization.urls(section.auth))
    wrong = (complaint(url, insecure=section.insecure) for url in addresses)
    yield from dict.fromkeys(each for each in wrong if each is not None)
    if sum(value is not None for value in (section.branch, section.tag, section.commit)) > 1:
        yield "only one of 'branch', 'tag' and 'commit' can be given"
    yield from _auth_mistakes(section)
    row = {field: getattr(section, field) for field in section.model_fields_set}
    yield from placeholders.mistakes(row, section.scope, at_url=section.source == "url")


def _auth_mistakes(section: ServerSection) -> Iterator[str]:
    auth = section.auth
    if auth.strategy == "none":
        return
    yield from _doubly_stated(section) if section.source == "url" else _child_mistakes(section)
    if auth.per_person and section.scope == "shared":
        yield (
            f"'scope: shared' would have people act with each other's credentials: with the strategy {auth.strategy!r} "
            "state 'user' or 'session', or nothing"
        )


def _doubly_stated(section: ServerSection) -> Iterator[str]:
    auth = section.auth
    if auth.env:
        yield "'auth.env' means nothing for a server with a 'url': its credential goes into the headers"
    credential = {each.lower() for each in auth.headers or (auth.header or "authorization",)}
    for header in section.headers:
        if header.lower() in credential:
            yield f"'headers.{header}' and 'auth' both state a credential: leave one out"


def _child_mistakes(section: ServerSection) -> Iterator[str]:
    auth = section.auth
    if not auth.env:
        yield "'auth' needs 'env': the variable in which a server that is started here gets its credential"
    for field in ("headers", "header", "username"):
        if getattr(auth, field):
            yield f"'auth.{field}' means nothing for a server that is started here; state 'api_key' and 'env'"
    if auth.env in section.env:
        yield f"'env.{auth.env}' and 'auth.env' both state that variable"
