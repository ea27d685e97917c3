"""What a parked handler may ask its client, and on which terms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mcp.server.connection import allowed_log_levels
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    LOG_LEVEL_META_KEY,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    ClientCapabilities,
    CreateMessageResult,
    CreateMessageResultWithTools,
    ElicitationCapability,
    ElicitResult,
    FormElicitationCapability,
    ListRootsResult,
    MissingRequiredClientCapabilityErrorData,
    RootsCapability,
    SamplingCapability,
    SamplingToolsCapability,
    UrlElicitationCapability,
)
from mcp_types.methods import serialize_server_result
from pydantic import BaseModel, ValidationError

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """What the request of a round declared about its client; the next round's may differ."""

    capabilities: ClientCapabilities | None
    level: str | None

    @classmethod
    def of(cls, ctx: ServerRequestContext[Any, Any]) -> Terms:
        """The terms of the request being served."""
        level = (ctx.meta or {}).get(LOG_LEVEL_META_KEY)
        return cls(ctx.session.client_capabilities, level if isinstance(level, str) else None)

    def frame(self) -> dict[str, Any]:
        """The terms as JSON for another worker."""
        declared = self.capabilities
        dumped = declared.model_dump(by_alias=True, mode="json", exclude_none=True) if declared is not None else None
        return {"capabilities": dumped, "level": self.level}

    @classmethod
    def read(cls, frame: Mapping[str, Any]) -> Terms:
        """The terms that another worker sent."""
        dumped = frame["capabilities"]
        declared = ClientCapabilities.model_validate(dumped, by_name=False) if dumped is not None else None
        return cls(declared, frame["level"])

    def wants_log(self, version: str, params: Params | None) -> bool:
        """Whether this round asked for log messages of that level."""
        allowed = allowed_log_levels(version, {LOG_LEVEL_META_KEY: self.level})
        return (params or {}).get("level") in allowed

    def check(self, method: str, params: Params) -> None:
        """Refuse what the client did not declare to answer.

        Raises:
            MCPError: MISSING_REQUIRED_CLIENT_CAPABILITY, naming the capability.
        """
        need = ASKABLE[method].need(params)
        if not need.met(self.capabilities or ClientCapabilities()):
            data = MissingRequiredClientCapabilityErrorData(required_capabilities=need.required)
            raise MCPError(
                MISSING_REQUIRED_CLIENT_CAPABILITY,
                f"Client did not declare the {need.name} capability that this call requires",
                data.model_dump(by_alias=True, mode="json", exclude_none=True),
            )


class Need(NamedTuple):
    """A capability: how it is called, how it is declared, and whether a client has it."""

    name: str
    required: ClientCapabilities
    met: Callable[[ClientCapabilities], bool]


def _form(have: ClientCapabilities) -> bool:
    # A bare `elicitation: {}` is the form capability of before there were modes.
    return have.elicitation is not None and (have.elicitation.form is not None or have.elicitation.url is None)


_FORM = Need(
    "form elicitation",
    ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability())),
    _form,
)
_URL = Need(
    "URL elicitation",
    ClientCapabilities(elicitation=ElicitationCapability(url=UrlElicitationCapability())),
    lambda have: have.elicitation is not None and have.elicitation.url is not None,
)
_SAMPLING = Need(
    "sampling",
    ClientCapabilities(sampling=SamplingCapability()),
    lambda have: have.sampling is not None,
)
_SAMPLING_TOOLS = Need(
    "sampling.tools",
    ClientCapabilities(sampling=SamplingCapability(tools=SamplingToolsCapability())),
    lambda have: have.sampling is not None and have.sampling.tools is not None,
)
_ROOTS = Need("roots", ClientCapabilities(roots=RootsCapability()), lambda have: have.roots is not None)


def _uses_tools(params: Params) -> bool:
    return params.get("tools") is not None or params.get("toolChoice") is not None


class Askable(NamedTuple):
    """A server→client request: what it needs, and what an answer to it looks like."""

    need: Callable[[Params], Need]
    answer: Callable[[Params], type[BaseModel]]


ASKABLE: Mapping[str, Askable] = {
    "elicitation/create": Askable(
        lambda params: _URL if params.get("mode") == "url" else _FORM,
        lambda _: ElicitResult,
    ),
    "sampling/createMessage": Askable(
        lambda params: _SAMPLING_TOOLS if _uses_tools(params) else _SAMPLING,
        lambda params: CreateMessageResultWithTools if _uses_tools(params) else CreateMessageResult,
    ),
    "roots/list": Askable(lambda _: _ROOTS, lambda _: ListRootsResult),
}


def _new_answer() -> asyncio.Future[dict[str, Any]]:
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """A request that waits for its client's answer."""

    method: str
    params: Params
    request: dict[str, Any]
    """As it is sent: `{"method": …, "params": …}` in the shape of the client's protocol version."""
    answer: asyncio.Future[dict[str, Any]] = field(default_factory=_new_answer)

    @classmethod
    def make(cls, carrier: str, version: str, method: str, params: Params | None) -> Ask:
        """Shape a request so that an answer to `carrier` (as `tools/call`) may carry it.

        Raises:
            MCPError: the version has no such request, or not with these parameters.
        """
        given = {"resultType": "input_required", "inputRequests": {"k": {"method": method, "params": params or {}}}}
        try:
            shaped = serialize_server_result(carrier, version, given)
        except ValidationError:
            message = f"{method} with these parameters cannot be asked of a client that speaks {version}"
            raise MCPError(INTERNAL_ERROR, message) from None
        return cls(method, params or {}, shaped["inputRequests"]["k"])

    def take(self, answer: Any) -> bool:
        """Hand an answer over to who waits for it; `False` when it is not of the right shape."""
        try:
            ASKABLE[self.method].answer(self.params).model_validate(answer, by_name=False)
        except ValidationError:
            return False
        if not self.answer.done():
            self.answer.set_result(answer)
        return True

    def refuse(self, error: MCPError) -> None:
        """Tell who waits that it cannot be asked."""
        if not self.answer.done():
            self.answer.set_exception(error)
