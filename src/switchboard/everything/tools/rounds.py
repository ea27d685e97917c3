"""Several rounds of questions without any memory on the server.

In the modern era each round is a request of its own: what was answered so far travels, sealed, in the request state,
so every round may reach another worker. For a handshake client the same tool asks while the call waits.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context, Elicit, Resolve
from pydantic import BaseModel, Field

from switchboard.everything.asking import require
from switchboard.everything.declared import ASKING, Declared
from switchboard.protocol.client_requests import FORMS


class Destination(BaseModel):
    """The first answer."""

    city: Literal["Lisbon", "Oslo", "Kyoto"] = Field(title="City", description="Where to go.")


class Stay(BaseModel):
    """The second answer."""

    nights: int = Field(title="Nights", description="How long to stay.", ge=1, le=30)


class Trip(BaseModel):
    """Both answers."""

    city: str = Field(description="Where to.")
    nights: int = Field(description="For how long.")


async def _ask_destination(ctx: Context[Any]) -> Elicit[Destination]:
    require(ctx, FORMS)
    return Elicit("Where would you like to go?", Destination)


async def _ask_stay(destination: Annotated[Destination, Resolve(_ask_destination)]) -> Elicit[Stay]:
    return Elicit(f"How many nights in {destination.city}?", Stay)


async def multi_round_trip(
    destination: Annotated[Destination, Resolve(_ask_destination)],
    stay: Annotated[Stay, Resolve(_ask_stay)],
) -> Trip:
    """Ask the user two questions, the second depending on the first, without keeping anything on the server between
    the rounds. Needs a client with form elicitation.
    """
    return Trip(city=destination.city, nights=stay.nights)


TOOLS = (Declared(multi_round_trip, "multiRoundTrip", "Stateless rounds of questions", ASKING, structured=True),)
