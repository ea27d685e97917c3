"""How a round ended: a result, or an error; kept to be given again, and carried between workers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mcp.server.context import HandlerResult
from mcp.server.runner import modern_error_data
from mcp.shared.exceptions import MCPError
from mcp_types.methods import is_input_required

from switchboard.sessions.detached_context import as_json
from switchboard.sessions.parking.continuation import HandlerState


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of one round."""

    result: HandlerResult = None
    error: Exception | None = None

    def give(self) -> HandlerResult:
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result

    def wrapped(self) -> Outcome:
        """The same, with a state of the handler's own put where it cannot be taken for a ticket."""
        if not is_input_required(self.result):
            return self
        result = as_json(self.result)
        state = result.get("requestState")
        return (
            replace(self, result={**result, "requestState": HandlerState(state).text()})
            if isinstance(state, str)
            else self
        )

    def dumped(self) -> dict[str, Any]:
        """The result as JSON for another worker.

        Raises:
            MCPError: the error; unexpected ones are logged here and lose their details.
        """
        if self.error is not None:
            raise MCPError.from_error_data(modern_error_data(self.error))
        return as_json(self.result)
