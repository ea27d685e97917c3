"""A form with a field of every type that an elicitation may ask for.

2025-06-18 knows strings, numbers, booleans and the older enumeration; 2025-11-25 added the rest (client/elicitation,
"Requested schema"). A client must not be sent fields that its protocol version does not have, so there are two forms.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from mcp.server.elicitation import render_elicitation_schema
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic.alias_generators import to_camel

_PETS = {"cats": "Cats", "dogs": "Dogs", "birds": "Birds", "fish": "Fish", "reptiles": "Reptiles"}
_URGENCY = {"low": "Whenever you like", "normal": "This week", "high": "Today"}
_CORDS = {"r": "Red cord", "g": "Green cord", "b": "Blue cord"}

Pet = Literal["cats", "dogs", "birds", "fish", "reptiles"]
Urgency = Literal["low", "normal", "high"]
Cord = Literal["r", "g", "b"]


def _titled(choices: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in choices.items()]


class Answers(BaseModel):
    """The fields that every version with elicitation has."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    name: str = Field(title="Full name", description="The only field that must be filled in.", max_length=100)
    check: bool = Field(False, title="Agree", description="Yes or no.")
    color: str = Field("blue", title="Favourite colour", description="Any text.", max_length=50)
    email: Annotated[
        str | None, Field(pattern=r"^[^@\s]+@[^@\s]+$"), WithJsonSchema({"type": "string", "format": "email"})
    ] = Field(None, title="E-mail address", description="A text in the format of an address.")
    homepage: Annotated[AnyUrl | None, WithJsonSchema({"type": "string", "format": "uri"})] = Field(
        None, title="Home page", description="A text in the format of a URI."
    )
    birthdate: datetime.date | None = Field(None, title="Date of birth", description="A day.")
    appointment: datetime.datetime | None = Field(None, title="Appointment", description="A day and a time.")
    integer: int = Field(42, title="Favourite whole number", description="From 1 to 100.", ge=1, le=100)
    number: float = Field(3.14, title="Favourite number", description="From 0 to 1000.", ge=0, le=1000)
    pet_type: Annotated[
        Pet, WithJsonSchema({"type": "string", "enum": list(_PETS), "enumNames": list(_PETS.values())})
    ] = Field("dogs", title="Pet", description="One of several, with names beside the values (the older way).")

    @model_validator(mode="before")
    @classmethod
    def _without_blanks(cls, given: Any) -> Any:
        # Many clients send the empty string, or null, for a field that the user left alone.
        if not isinstance(given, Mapping):
            return given
        return {key: value for key, value in given.items() if key == "name" or value not in ("", None)}


class FullAnswers(Answers):
    """All fields: those above, and the selections of 2025-11-25."""

    size: Literal["small", "medium", "large"] = Field("medium", title="Size", description="One of several.")
    urgency: Annotated[Urgency, WithJsonSchema({"type": "string", "oneOf": _titled(_URGENCY)})] = Field(
        "normal", title="Urgency", description="One of several, each with a title."
    )
    languages: list[Literal["Python", "TypeScript", "Go", "Rust"]] = Field(
        ["Python"], title="Languages", description="Up to three of several.", max_length=3
    )
    cords: Annotated[
        list[Cord],
        Field(min_length=1),
        WithJsonSchema({"type": "array", "minItems": 1, "items": {"anyOf": _titled(_CORDS)}}),
    ] = Field(["r"], title="Cords", description="One or more of several, each with a title.")


def requested_schema(form: type[Answers]) -> dict[str, Any]:
    """The form as the specification writes it: an object of flat properties and nothing else beside."""
    rendered = render_elicitation_schema(form)
    return {part: rendered[part] for part in ("type", "properties", "required")}
