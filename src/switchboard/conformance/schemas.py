"""Tools whose input schema is what is looked at: JSON Schema 2020-12, and a parameter mirrored in a header."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, Field

from switchboard.conformance.fixture import Fixture


class Address(BaseModel):
    """Where somebody lives."""

    street: str | None = None
    city: str | None = None


CONTACT: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""SEP-1613: every keyword must reach the client as it stands here."""


async def contact(
    name: str | None = None,
    address: Address | None = None,
    contactMethod: Literal["phone", "email"] | None = None,  # noqa: N803  the argument's public name
    phone: str | None = None,
    email: str | None = None,
) -> str:
    """Take a contact whose input schema uses what JSON Schema 2020-12 has: definitions, anchors, conditions."""
    reached = phone if contactMethod == "phone" else email
    where = f", {address.city}" if address and address.city else ""
    return f"{name or 'Somebody'}{where}: {reached or 'not to be reached'}"


async def mirrored(
    region: Annotated[
        str, Field(description="Any text; mirrored in a header.", json_schema_extra={"x-mcp-header": "Region"})
    ],
) -> str:
    """Take a parameter that a client of 2026-07-28 also sends as the header Mcp-Param-Region (SEP-2243)."""
    return f"Region: {region}"


TOOLS = (
    Fixture(contact, "json_schema_2020_12_tool", schema=CONTACT),
    Fixture(mirrored, "test_x_mcp_header"),
)
