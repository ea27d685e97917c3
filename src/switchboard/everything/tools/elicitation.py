"""Elicitation: the server asks the user, through a form in the client or through a page in the browser."""

from __future__ import annotations

import json
import uuid
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ElicitResult
from mcp_types.version import is_version_at_least
from pydantic import BaseModel, Field, ValidationError

from switchboard.everything.asking import answered, is_modern, require
from switchboard.everything.declared import ASKING, Declared
from switchboard.everything.tools.form import Answers, FullAnswers, requested_schema
from switchboard.protocol.client_requests import FORMS, URLS

_ALL_TYPES_SINCE = "2025-11-25"


async def elicit_inputs(ctx: Context[Any]) -> str:
    """Ask the user to fill in a form with a field of every type, and return the answers. Needs a client with form
    elicitation.
    """
    require(ctx, FORMS)
    modern_enough = is_version_at_least(ctx.protocol_version or "", _ALL_TYPES_SINCE)
    form = FullAnswers if modern_enough else Answers
    with answered("elicitation/create"):
        result = await ctx.session.elicit_form(
            "Please provide inputs for the following fields:", requested_schema(form), ctx.request_id
        )
    return f"Elicitation result: {json.dumps(_checked(result, form), indent=2)}"


def _checked(result: ElicitResult, form: type[Answers]) -> dict[str, Any]:
    """The action, and the content if there is any; a client's check of its own form is not taken for granted."""
    if result.action != "accept":
        return {"action": result.action}
    try:
        answers = form.model_validate(result.content)
    except ValidationError as wrong:
        fields = sorted({".".join(str(part) for part in error["loc"]) or "content" for error in wrong.errors()})
        raise ToolError(f"The answers do not follow the requested schema: {', '.join(fields)}.") from wrong
    return {"action": "accept", "content": answers.model_dump(mode="json", by_alias=True, exclude_unset=True)}


class Visit(BaseModel):
    """What became of the wish to send the user to a page."""

    action: str = Field(description="accept, decline or cancel. Accepting means: willing to open the page.")
    url: str = Field(description="The page.")
    elicitationId: str = Field(description="What names this elicitation.")  # noqa: N815  as the specification has it


async def elicit_url(
    ctx: Context[Any],
    url: Annotated[str, Field(description="The page to open.", pattern=r"^https://[^\s/]\S*$", max_length=2000)] = (
        "https://modelcontextprotocol.io/"
    ),
    message: Annotated[str, Field(description="Why, in words for the user.", min_length=1, max_length=1000)] = (
        "Please open this page."
    ),
) -> Visit:
    """Ask the user to open a web page, as a server does for signing in or paying. Needs a client with URL
    elicitation.
    """
    require(ctx, URLS)
    elicitation_id = str(uuid.uuid4())
    with answered("elicitation/create"):
        result = await ctx.session.elicit_url(message, url, elicitation_id, ctx.request_id)
    if result.action == "accept" and not is_modern(ctx):
        # There is nothing to wait for on this page. 2026-07-28 has no such notification.
        await ctx.session.send_elicit_complete(elicitation_id, ctx.request_id)
    return Visit(action=result.action, url=url, elicitationId=elicitation_id)


TOOLS = (
    Declared(elicit_inputs, "elicitInputs", "Elicit inputs of every type", ASKING),
    Declared(elicit_url, "elicitUrl", "Elicit a visit to a URL", ASKING, structured=True),
)
