"""What a server can ask a client: the capability that the client must have declared, and the form of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from mcp.shared.exceptions import MCPError
from mcp_types import (
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
from pydantic import BaseModel

Params = Mapping[str, Any]


class Capability(NamedTuple):
    """A capability of a client: its name, how it is declared, and whether a client declared it."""

    name: str
    required: ClientCapabilities
    declared_by: Callable[[ClientCapabilities], bool]

    def missing(self, message: str) -> MCPError:
        """The error of 2026-07-28 for a request that needs it."""
        return missing_capability(self.required, message)


def missing_capability(required: ClientCapabilities, message: str) -> MCPError:
    """The error of 2026-07-28 (basic/index, "Per-request protocol fields") for what a client has not declared."""
    data = MissingRequiredClientCapabilityErrorData(required_capabilities=required)
    dumped = data.model_dump(by_alias=True, mode="json", exclude_none=True)
    return MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, message, dumped)


FORMS: Final = Capability(
    "elicitation.form",
    ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability())),
    # An empty `elicitation` is from before there were modes (SEP-1036), and means forms.
    lambda client: (
        client.elicitation is not None and (client.elicitation.form is not None or client.elicitation.url is None)
    ),
)
URLS: Final = Capability(
    "elicitation.url",
    ClientCapabilities(elicitation=ElicitationCapability(url=UrlElicitationCapability())),
    lambda client: client.elicitation is not None and client.elicitation.url is not None,
)
SAMPLING: Final = Capability(
    "sampling", ClientCapabilities(sampling=SamplingCapability()), lambda client: client.sampling is not None
)
SAMPLING_TOOLS: Final = Capability(
    "sampling.tools",
    ClientCapabilities(sampling=SamplingCapability(tools=SamplingToolsCapability())),
    lambda client: client.sampling is not None and client.sampling.tools is not None,
)
ROOTS: Final = Capability("roots", ClientCapabilities(roots=RootsCapability()), lambda client: client.roots is not None)


def _with_tools(params: Params) -> bool:
    return params.get("tools") is not None or params.get("toolChoice") is not None


class ClientRequest(NamedTuple):
    """One request that a server may send."""

    family: str
    """The member of the client's capabilities under which it is declared."""
    capability: Callable[[Params], Capability]
    answer: Callable[[Params], type[BaseModel]]


CLIENT_REQUESTS: Final[Mapping[str, ClientRequest]] = {
    "elicitation/create": ClientRequest(
        "elicitation", lambda params: URLS if params.get("mode") == "url" else FORMS, lambda _: ElicitResult
    ),
    "sampling/createMessage": ClientRequest(
        "sampling",
        lambda params: SAMPLING_TOOLS if _with_tools(params) else SAMPLING,
        lambda params: CreateMessageResultWithTools if _with_tools(params) else CreateMessageResult,
    ),
    "roots/list": ClientRequest("roots", lambda _: ROOTS, lambda _: ListRootsResult),
}
"""By method."""
