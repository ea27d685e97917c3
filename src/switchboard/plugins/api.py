"""The plugin API: everything a plugin author needs, in this one file. docs/plugins.md begins with a first tool.

A plugin is a `Plugin`: a name, a version, and an SDK `MCPServer` with its tools, resources and prompts, or a function
that makes one from a `PluginContext`. Through its context a plugin gets at its configuration, its logger and its
credentials:

    def serve(context: PluginContext[Settings]) -> MCPServer:
        server = MCPServer("weather")

        @server.tool()
        async def now(city: str) -> str:
            key = await context.need_credential("api_key")
            ...
        return server

    key = CredentialField("api_key", description="From your account page.")
    plugin = Plugin("weather", "1.0.0", serve, config=Settings, auth=AuthRequirement("api-key", (key,)))

It is found in two ways, under its own name:

* in the plugins folder (`PLUGINS_DIR`): a file `NAME.py`, or a package `NAME/__init__.py`, with a variable `plugin`
* by the entry point group `switchboard.plugins`, whose entry names such a variable

In place of the `Plugin` there may be a function `(config: Mapping[str, object]) -> Plugin`, which is called with the
configuration as it is written.

A worker runs one of each plugin; a session may be served by any worker. So nothing that a client needs in its next
request may be kept in the plugin's own variables. A changed configuration, or a changed file, makes a plugin anew: the
next is started, takes over, and then the one before is stopped, once it has answered what it serves.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ServerEvent
from mcp_types import INVALID_REQUEST, LoggingLevel
from pydantic import BaseModel

from switchboard.errors import CredentialUnavailable, NotConnected
from switchboard.outbound_auth.connectables import CredentialField

Kind = Literal["tools", "resources", "templates", "prompts"]
"""The four things that can be listed."""

TaskSupport = Literal["optional", "required"]
"""Whether a tool that takes long may be run as a task, or cannot be served to a client that knows no tasks."""

TASK_SUPPORT = "switchboard/taskSupport"
"""The key in a tool's `_meta` that says so: `server.add_tool(fn, meta={TASK_SUPPORT: "optional"})`."""

EVERYBODY: Final = ""
"""The user whose credentials hold for whoever has none of their own."""

NOT_CONNECTED: Final = "switchboard/notConnected"
"""In the data of the error by which a plugin's process says that the person has to connect first."""

TOKENS: Final = "oauth"
"""Where the tokens of `access_token` are kept; no credential may be called so."""

_CREDENTIAL_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def check_name(name: str) -> None:
    """See that a credential may be called so.

    Raises:
        ValueError: it may not.
    """
    if not _CREDENTIAL_NAME.fullmatch(name) or name == TOKENS:
        raise ValueError(f"{name!r} is no name of a credential: small letters, digits and '_', and not {TOKENS!r}")


# -- what a plugin asks people for ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class AuthRequirement:
    """What a plugin needs before it can work for a person."""

    kind: Literal["api-key", "oauth2", "jwt", "custom"]
    """`oauth2`: the person signs in at `provider`, and `access_token` gives the token. All others are a form with
    `fields`: a key, what a plugin signs its own JWTs with, or anything else."""

    fields: tuple[CredentialField, ...] = ()
    """What a person enters. `get_credential` gives each under its name. A `CredentialField` has a `name`, and what
    people see: a `label`, a `type` (`string`, `password` or `url`), whether it is `required`, a `description`, and a
    `pattern` that the whole text must match."""
    provider: str | Mapping[str, Any] | None = None
    """Of `oauth2`: `google`, `microsoft`, `github`, or the fields of an OAuth provider, such as its `issuer`. The
    operator's `plugins.NAME.auth` lies over it, and brings the client id and secret."""

    scopes: tuple[str, ...] = ()
    """Of `oauth2`: what the token is to be good for."""

    def __post_init__(self) -> None:
        for each in self.fields:
            check_name(each.name)
        if (self.kind == "oauth2") is (self.provider is None):
            raise ValueError("an auth requirement has a provider if it is of the kind oauth2, and else none")
        if self.kind != "oauth2" and not self.fields:
            raise ValueError(f"an auth requirement of the kind {self.kind} has fields")


@dataclass(frozen=True)
class TokenInfo:
    """What is known of a person's token, without the token."""

    state: Literal["connected", "expired", "missing"]
    """`expired`: the person has to sign in again; what can be refreshed is `connected`."""

    scopes: tuple[str, ...] = ()
    expires_at: float | None = None
    """Unix time in seconds; `None` where the provider does not say."""


# -- what Switchboard offers a plugin ------------------------------------------------------------------------------


class OpenStream(Protocol):
    """A stream that a client holds open on this worker: a handshake session's GET, or a modern listen stream."""

    @property
    def era(self) -> Literal["handshake", "modern"]:
        """Which protocol era the client speaks."""
        ...

    @property
    def log_level(self) -> LoggingLevel | None:
        """The least severe level the client takes on this stream; `None` when the stream cannot carry log messages."""
        ...

    @property
    def subscriptions(self) -> frozenset[str]:
        """The resource URIs the client subscribed to, as last known."""
        ...

    async def notify(self, method: str, params: Mapping[str, Any]) -> None:
        """Send a notification on this stream; dropped when the stream has ended, or may not carry it."""
        ...


class Host(Protocol):
    """What Switchboard offers a running plugin."""

    @property
    def worker(self) -> str:
        """This worker's id, minted after the process was forked."""
        ...

    @property
    def state(self) -> str:
        """Where shared state lives: `memory://` or `redis`."""
        ...

    def streams(self) -> Iterable[OpenStream]:
        """The streams open on this worker now; safe to iterate while streams come and go."""
        ...

    async def publish(self, event: ServerEvent) -> None:
        """Tell every interested client of both eras, on every worker, that something changed."""
        ...


class Logger(Protocol):
    """Writes to the log; names of secrets among the values are hidden."""

    def debug(self, event: str, **values: Any) -> Any: ...
    def info(self, event: str, **values: Any) -> Any: ...
    def warning(self, event: str, **values: Any) -> Any: ...
    def error(self, event: str, **values: Any) -> Any: ...
    def exception(self, event: str, **values: Any) -> Any: ...


class Credentials(Protocol):
    """Where a context keeps a plugin's credentials: in its namespace alone. `user` is always given here."""

    async def get(self, name: str, user: str) -> str | None: ...
    async def put(self, name: str, value: str, user: str) -> None: ...
    async def delete(self, name: str, user: str) -> bool: ...
    async def names(self, user: str) -> list[str]: ...
    async def access_token(self, user: str) -> str: ...
    async def token_info(self, user: str) -> TokenInfo: ...
    async def forget_token(self, user: str) -> None: ...


class PersonNotConnected(NotConnected, MCPError):
    """`NotConnected`, as it gets through the SDK, which makes a text of any error of a tool but those of the protocol.

    Args:
        person, name, reason: as of `NotConnected`.
        credential: the name of what is missing; `TOKENS` if the person has to sign in.
    """

    def __init__(self, person: str, name: str, reason: str, credential: str) -> None:
        said = {"person": person, "reason": reason, "credential": credential}
        MCPError.__init__(self, INVALID_REQUEST, reason, {NOT_CONNECTED: said})
        self.person, self.name, self.reason, self.retry = person, name, reason, False
        self.credential = credential

    def __str__(self) -> str:
        return self.reason


C = TypeVar("C")


class PluginContext(Generic[C]):
    """What a plugin gets at Switchboard by: its own configuration, logger and credentials, and nobody else's.

    `user` is a person as `PluginContext.user` gives it. Where it is left out it is the person whose request is being
    served. Outside of a request there is none: then it must be given, and `EVERYBODY` stands for the gateway itself.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 (what plugin authors call it)
        config: C,
        logger: Logger,
        credentials: Credentials,
        caller: Callable[[], str],
        auth: AuthRequirement | None = None,
    ) -> None:
        self.id: Final = id
        """The plugin's name."""
        self.config: Final = config
        """What `plugins.NAME.config` says, as the plugin's own model; without a model as it is written."""
        self.logger: Final = logger
        self._credentials = credentials
        self._caller = caller
        self._auth = auth

    def __repr__(self) -> str:
        return f"<PluginContext of {self.id}>"

    @property
    def user(self) -> str:
        """The person whose request is being served: a text that stays the same for them, whatever their client."""
        return self._caller()

    async def get_credential(self, name: str, user: str | None = None) -> str | None:
        """A credential: the person's own, else the one for everybody; `None` if there is neither."""
        whose = self._whose(name, user)
        own = await self._credentials.get(name, whose)
        return own if own is not None or whose == EVERYBODY else await self._credentials.get(name, EVERYBODY)

    async def need_credential(self, name: str, user: str | None = None) -> str:
        """The same, where nothing can be done without it.

        Raises:
            NotConnected: there is none. Left to go through, it asks the person to enter it.
        """
        found = await self.get_credential(name, user)
        if found is None:
            raise PersonNotConnected(self._of(user), self.id, f"{self.id} needs a credential of yours: {name}", name)
        return found

    async def set_credential(self, name: str, value: str, user: str | None = None) -> None:
        """Keep a credential, encrypted, for the person; every worker gives it from then on."""
        await self._credentials.put(name, value, self._whose(name, user))

    async def delete_credential(self, name: str, user: str | None = None) -> bool:
        """Delete a credential of the person; whether there was one."""
        return await self._credentials.delete(name, self._whose(name, user))

    async def list_credentials(self, user: str | None = None) -> list[str]:
        """The names of the person's credentials."""
        return [name for name in await self._credentials.names(self._of(user)) if name != TOKENS]

    async def access_token(self, user: str | None = None) -> str:
        """A token of the person at the plugin's OAuth provider, refreshed if it had to be.

        Raises:
            NotConnected: the person has not signed in there, or has to again. Left to go through, it asks them to.
            ToolError: the provider cannot be asked now; says why.
        """
        try:
            return await self._credentials.access_token(self._of(user))
        except NotConnected as missing:
            raise PersonNotConnected(missing.person, self.id, str(missing), TOKENS) from missing
        except CredentialUnavailable as error:
            raise ToolError(str(error)) from error

    async def is_authenticated(self, user: str | None = None) -> bool:
        """Whether there is all that the plugin's auth requirement asks for."""
        if self._auth is None:
            return True
        if self._auth.kind == "oauth2" and (await self.token_info(user)).state != "connected":
            return False
        needed = [each.name for each in self._auth.fields if each.required]
        return all([await self.get_credential(name, user) is not None for name in needed])

    async def token_info(self, user: str | None = None) -> TokenInfo:
        """What is known of the person's token at the plugin's OAuth provider."""
        return await self._credentials.token_info(self._of(user))

    async def require_reauth(self, user: str | None = None) -> None:
        """Forget what the person entered or signed in with, so that they are asked again."""
        whose = self._of(user)
        if self._auth is not None and self._auth.kind == "oauth2":
            await self._credentials.forget_token(whose)
        for each in self._auth.fields if self._auth is not None else ():
            await self._credentials.delete(each.name, whose)

    def _of(self, user: str | None) -> str:
        return self._caller() if user is None else user

    def _whose(self, name: str, user: str | None) -> str:
        check_name(name)
        return self._of(user)


# -- what a plugin is ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _no_lifecycle(_host: Host) -> AsyncIterator[None]:
    yield


async def _nothing(_context: PluginContext[Any]) -> None:
    return


@dataclass(frozen=True)
class Plugin:
    """One provider of tools, resources and prompts."""

    name: str
    """Lower-case letters, digits and hyphens; the default prefix of what it offers."""

    version: str
    """The plugin's own version, shown to operators."""

    server: MCPServer[Any] | Callable[[PluginContext[Any]], MCPServer[Any]]
    """The SDK server whose handlers are called, or what makes one; called anew for each change of the configuration."""

    running: Callable[[Host], AbstractAsyncContextManager[None]] = _no_lifecycle
    """Entered once per worker after `start` and left at shutdown: for background work, in a task group. When it raises
    in between, the plugin has failed: calls are answered with the reason until it is reloaded."""

    page_sizes: Mapping[Kind, int] = field(default_factory=dict)
    """How many items a page of a list should hold at most, for lists that this plugin contributes to."""

    description: str = ""
    """One line for operators."""

    dependencies: tuple[str, ...] = ()
    """Names of plugins that are started before this one, and without which it does not start."""

    config: type[BaseModel] | None = None
    """The model of `plugins.NAME.config`. What does not fit is refused, naming field and reason."""

    auth: AuthRequirement | None = None
    """What people are asked for, on the page "My connections"."""

    start: Callable[[PluginContext[Any]], Awaitable[None]] = _nothing
    """Awaited once per worker before the first request."""

    stop: Callable[[PluginContext[Any]], Awaitable[None]] = _nothing
    """Awaited once per worker after the last request, if `start` came to its end."""
