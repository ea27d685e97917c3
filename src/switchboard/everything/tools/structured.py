"""Structured output: a result that a client can check against a published schema."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from switchboard.everything.declared import PURE, Declared

City = Literal["New York", "Chicago", "Los Angeles"]


class Weather(BaseModel):
    """The weather in a city, made up once and for all."""

    temperature: float = Field(description="In degrees Celsius.")
    conditions: str = Field(description="In words.")
    humidity: float = Field(description="Relative, in percent.", ge=0, le=100)


_WEATHER: dict[City, Weather] = {
    "New York": Weather(temperature=12.5, conditions="Cloudy", humidity=70),
    "Chicago": Weather(temperature=4, conditions="Light rain", humidity=88),
    "Los Angeles": Weather(temperature=23, conditions="Sunny", humidity=45),
}


async def get_structured_content(
    location: Annotated[City, Field(description="The city.")],
) -> Weather:
    """Return the (invented) weather of a city as structured content that follows the tool's output schema."""
    return _WEATHER[location]


TOOLS = (Declared(get_structured_content, "getStructuredContent", "Get structured content", PURE, structured=True),)
