"""Entries of an MCP registry (`server.json`), and the rows of `mcpServers` that they become. Pure.

An entry is written by whoever published the server. So its texts are cleaned of what is not seen and cut; a `${` in its
values never reads a variable of this server; a value that the operator has to give stands as `${MCP_SERVER_NAME}` in
the row, a name that no setting has; and a package of another registry than npm's or PyPI's own is refused, since the
same name means another package here.
https://github.com/modelcontextprotocol/registry/blob/main/docs/reference/server-json/generic-server-json.md
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AliasGenerator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from switchboard.common import visible_text
from switchboard.config import provider_name
from switchboard.errors import ConfigurationError

NPM_HOST: Final = "registry.npmjs.org"
PYPI_HOST: Final = "pypi.org"
"""Where an entry may say that its package comes from, if it says so: elsewhere the same name is another package."""

LONGEST: Final = 500
"""Characters of a text for people."""
INPUTS: Final = 100
"""Values of one package or remote that may be asked for."""


def _shown(value: Any) -> str:
    return visible_text.text(value)[:LONGEST] if isinstance(value, str) else ""


Shown = Annotated[str, BeforeValidator(_shown)]
"""A text for people; empty where there is none."""


def _listed(value: Any) -> Any:
    return () if value is None else value


class _Entry(BaseModel):
    model_config = ConfigDict(alias_generator=AliasGenerator(validation_alias=to_camel), frozen=True)


class Input(_Entry):
    """A value: fixed, or for the operator to give."""

    name: str = ""
    """Of a header, a variable or a named argument."""
    description: Shown = ""
    is_required: bool = False
    is_secret: bool = False
    value: str | None = None
    default: str | None = None
    choices: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    variables: Annotated[Mapping[str, Input], BeforeValidator(lambda value: value or {})] = Field(default_factory=dict)
    """What stands in `{braces}` in `value`."""


class Argument(Input):
    """A word of a command line, or two."""

    type: str = "positional"
    value_hint: str = ""


Inputs = Annotated[tuple[Input, ...], BeforeValidator(_listed)]
Arguments = Annotated[tuple[Argument, ...], BeforeValidator(_listed)]


class Transport(_Entry):
    """How a server is talked to."""

    type: str
    url: str = ""
    headers: Inputs = ()
    variables: Annotated[Mapping[str, Input], BeforeValidator(lambda value: value or {})] = Field(default_factory=dict)


class Package(_Entry):
    """Something to install and start."""

    registry_type: str
    registry_base_url: str = ""
    identifier: str
    version: str = ""
    transport: Transport = Transport(type="stdio")
    runtime_arguments: Arguments = ()
    package_arguments: Arguments = ()
    environment_variables: Inputs = ()


class Repository(_Entry):
    """Where the code is."""

    url: Shown = ""


class Entry(_Entry):
    """One version of a server."""

    name: str = Field(min_length=1, max_length=200)
    title: Shown = ""
    description: Shown = ""
    version: Annotated[str, Field(max_length=255)] = ""
    website_url: Shown = ""
    repository: Annotated[Repository, BeforeValidator(lambda value: value or {})] = Repository()
    packages: Annotated[tuple[Package, ...], BeforeValidator(_listed)] = ()
    remotes: Annotated[tuple[Transport, ...], BeforeValidator(_listed)] = ()

    @property
    def suggested(self) -> str:
        """What the server could be called here: the last part of its name."""
        return provider_name(self.name.rpartition("/")[2])[:64]


@dataclass(frozen=True)
class Asked:
    """A value that the operator may or has to give."""

    name: str
    where: str
    """What it is for: `header X-Region`, `variable API_KEY`, `argument`, `URL`."""
    description: str
    required: bool
    secret: bool
    default: str | None
    choices: tuple[str, ...]
    reference: str
    """What stands for it in the row, `${…}`; empty where it stands nowhere, or its value or default does."""


@dataclass(frozen=True)
class Option:
    """One way to have the server: a remote of its entry, or a package."""

    kind: str
    """`http`, `sse`, `npm`, `pypi` or `docker`; another word where it cannot be added."""
    row: dict[str, Any]
    inputs: tuple[Asked, ...] = ()
    notes: tuple[str, ...] = ()
    """What to look at before it is added."""
    problem: str = ""
    """Why it cannot be added; the row is empty then."""


def options(entry: Entry, server: str, given: Mapping[str, str]) -> list[Option]:
    """The ways to have a server, what can be added first, remotes before packages.

    Args:
        server: what it will be called here.
        given: name of an input → its value, which may have references to variables.

    Raises:
        ConfigurationError: a value that is given is none of its choices, or nothing asks for it.
    """
    found = [
        *(_option(_remote, remote, entry, server, given) for remote in entry.remotes),
        *(_option(_package, package, entry, server, given) for package in entry.packages),
    ]
    known = {asked.name for option in found for asked in option.inputs}
    if unknown := sorted(set(given) - known):
        asked_for = ", ".join(sorted(known)) or "nothing"
        raise ConfigurationError(f"{entry.name} does not ask for {unknown[0]!r}; it asks for: {asked_for}")
    return sorted(found, key=lambda option: (bool(option.problem), option.kind == "sse"))


class _Unfit(Exception):
    """Why something cannot be added."""


def _option(make: Any, what: Any, entry: Entry, server: str, given: Mapping[str, str]) -> Option:
    filling = _Filling(server, given)
    kind = what.type if isinstance(what, Transport) else what.registry_type
    kind = _KINDS.get(kind, visible_text.excerpt(kind, 40))
    try:
        row = make(what, filling)
    except _Unfit as reason:
        return Option(kind, {}, tuple(filling.asked.values()), problem=str(reason))
    described = {"description": _literal(entry.description)} if entry.description else {}
    return Option(kind, {**row, **described}, tuple(filling.asked.values()), tuple(filling.notes))


_KINDS: Final = {"streamable-http": "http", "oci": "docker"}


def _remote(remote: Transport, filling: _Filling) -> dict[str, Any]:
    if remote.type not in ("streamable-http", "sse"):
        raise _Unfit(f"it is reached over {visible_text.excerpt(remote.type, 40)!r}, which nobody here speaks")
    url = filling.template(remote.url, remote.variables, "URL")
    if urlsplit(remote.url).scheme not in ("https", "http") and not remote.url.startswith("{"):
        raise _Unfit("its address is no http or https URL")
    headers = filling.pairs(remote.headers, "header")
    return {"url": url, "type": _KINDS.get(remote.type, remote.type), **({"headers": headers} if headers else {})}


def _package(package: Package, filling: _Filling) -> dict[str, Any]:
    make = _PACKAGES.get(package.registry_type)
    if make is None:
        how = "unpack it, and add what is in it with source: local" if package.registry_type == "mcpb" else ""
        said = f"packages from {visible_text.excerpt(package.registry_type, 40)!r} are not installed here"
        raise _Unfit(f"{said}{': ' + how if how else ''}")
    if package.transport.type != "stdio":
        raise _Unfit("it listens at a port of its own instead of stdio: start it yourself, and add its URL")
    if not re.fullmatch(r"[^\s-]\S*", package.identifier):
        raise _Unfit(f"{visible_text.excerpt(package.identifier, 80)!r} is not the name of a package")
    row = make(package, filling)
    arguments = [word for each in package.package_arguments for word in filling.words(each, "argument")]
    env = filling.pairs(package.environment_variables, "variable")
    return {**row, **({"args": arguments} if arguments else {}), **({"env": env} if env else {})}


def _npm(package: Package, filling: _Filling) -> dict[str, Any]:
    _from(package, NPM_HOST)
    filling.note_runtime(package, ("-y", "--yes"), "npx")
    return _pinned({"source": "npm", "package": package.identifier}, package)


def _pypi(package: Package, filling: _Filling) -> dict[str, Any]:
    _from(package, PYPI_HOST)
    filling.note_runtime(package, (), "uvx")
    return _pinned({"source": "pypi", "package": package.identifier}, package)


def _docker(package: Package, filling: _Filling) -> dict[str, Any]:
    image, host = package.identifier, urlsplit(package.registry_base_url).netloc
    first = image.partition("/")[0]
    if host not in ("", "docker.io") and "." not in first and ":" not in first:
        image = f"{host}/{image}"
    row: dict[str, Any] = {"source": "docker", "image": image}
    last = image.rpartition("/")[2]
    if "@" not in last and ":" not in last:
        row = _pinned(row, package)
    words = [word for each in package.runtime_arguments for word in filling.words(each, "argument of docker run")]
    words = [word for word in words if word not in ("run", "-i", "--interactive", "--rm", "--init")]
    if words:
        filling.notes.append(f"it has Docker run it with {' '.join(words)}: look at what that allows it")
        row["run_args"] = words
    return row


_PACKAGES: Final = {"npm": _npm, "pypi": _pypi, "oci": _docker}


def _from(package: Package, host: str) -> None:
    elsewhere = urlsplit(package.registry_base_url).netloc
    if elsewhere not in ("", host):
        raise _Unfit(f"it comes from {visible_text.excerpt(elsewhere, 80)}, and packages are taken from {host} alone")


def _pinned(row: dict[str, Any], package: Package) -> dict[str, Any]:
    return {**row, "version": _literal(package.version)} if package.version else row


def _literal(text: str) -> str:
    """A text that stands in a configuration for itself."""
    return text.replace("${", "$${")


@dataclass
class _Filling:
    """Fills the values of one remote or package, and gathers what is asked for."""

    server: str
    given: Mapping[str, str]
    asked: dict[str, Asked] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pairs(self, inputs: Sequence[Input], where: str) -> dict[str, str]:
        """Headers or variables: those that have a value."""
        found = ((each.name, self._value(each, each.name, f"{where} {each.name}")) for each in inputs if each.name)
        return {name: value for name, value in found if value is not None}

    def words(self, argument: Argument, where: str) -> Iterator[str]:
        """The words of an argument; none for an optional one that nobody gave."""
        named = argument.type == "named"
        name = argument.name.lstrip("-") if named else argument.value_hint
        value = self._value(argument, name or "argument", f"{where} {argument.name}".strip())
        flag = named and value is None and "docker" in where  # `-i`, `--rm`: the runtime's own
        if value is None and not flag:
            return
        yield from (*((_literal(argument.name),) if named else ()), *((value,) if value else ()))

    def template(self, text: str, variables: Mapping[str, Input], where: str, *, secret: bool = False) -> str:
        """A text with what stands in `{braces}` replaced; what nobody explains stays (as the specification has it)."""
        filled, literal = "", ""
        for index, part in enumerate(re.split(r"\{([A-Za-z_][A-Za-z0-9_-]*)\}", text)):
            each = variables.get(part) if index % 2 else None
            if each is None:
                literal += f"{{{part}}}" if index % 2 else part
                continue
            needed = each.model_copy(update={"is_required": True, "is_secret": secret or each.is_secret})
            value = self._stated(needed, part, where)
            if value is None:
                literal += each.value or each.default or ""
                continue
            if literal.endswith("$") and value.startswith(("{", "$")):
                raise _Unfit("it has a $ before a value, which would then be read as text")
            filled, literal = filled + _literal(literal) + value, ""
        return filled + _literal(literal)

    def note_runtime(self, package: Package, usual: Sequence[str], program: str) -> None:
        """Say what its runtime would be told, which the installation here is not."""
        words = [word for each in package.runtime_arguments for word in (each.name, each.value or "") if word]
        if unusual := [word for word in words if word not in usual]:
            self.notes.append(f"its arguments for {program} have no effect here: {visible_text.excerpt(unusual)}")

    def _value(self, each: Input, name: str, where: str) -> str | None:
        """What to write for an input; nothing for an optional one that nobody gave."""
        if each.value is not None:
            return self.template(each.value, each.variables, where, secret=each.is_secret)
        value = self._stated(each, name, where)
        return _literal(each.default) if value is None and each.default is not None else value

    def _stated(self, each: Input, name: str, where: str) -> str | None:
        """Ask for an input: what is given for it, or a reference; nothing where its own value or default stands."""
        if each.value is not None:
            return None
        if len(self.asked) >= INPUTS and name not in self.asked:
            raise _Unfit(f"it asks for more than {INPUTS} values")
        value, reference = self.given.get(name), ""
        if value is not None and each.choices and value not in each.choices and "${" not in value:
            raise ConfigurationError(f"{name} is one of: {', '.join(each.choices)}")
        if value is None and each.default is None and each.is_required:
            reference = value = f"${{{_variable(self.server, name)}}}"
        self.asked[name] = Asked(
            name=name,
            where=where,
            description=each.description,
            required=each.is_required,
            secret=each.is_secret,
            default=each.default,
            choices=each.choices,
            reference=reference,
        )
        return value


def _variable(server: str, name: str) -> str:
    """A variable of the environment that no setting of ours is called."""
    return re.sub(r"[^A-Z0-9]+", "_", f"MCP_{server}_{name}".upper()).strip("_")
