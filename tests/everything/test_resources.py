"""The hundred resources and their template."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, BlobResourceContents, TextResourceContents

from switchboard.everything.resources import number_of


async def test_a_hundred_static_resources_are_listed_in_order_before_the_app_page(
    connect: Callable[..., Client],
) -> None:
    async with connect() as client:
        uris = [resource.uri for resource in (await client.list_resources()).resources]
    assert uris == [f"test://static/resource/{number}" for number in range(1, 101)] + ["ui://hello-world/app.html"]


async def test_odd_resources_are_text_and_even_ones_are_blobs(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        listed = {resource.uri: resource for resource in (await client.list_resources()).resources}
        for number in range(1, 101):
            uri = f"test://static/resource/{number}"
            (contents,) = (await client.read_resource(uri)).contents
            assert contents.uri == uri
            assert contents.mime_type == listed[uri].mime_type
            if number % 2:
                assert isinstance(contents, TextResourceContents)
                assert f"Resource {number}:" in contents.text
            else:
                assert isinstance(contents, BlobResourceContents)
                assert f"Resource {number}:" in base64.b64decode(contents.blob).decode()


async def test_the_template_tells_how_uris_are_made(connect: Callable[..., Client]) -> None:
    async with connect() as client:
        (template,) = (await client.list_resource_templates()).resource_templates
    assert template.uri_template == "test://static/resource/{id}"
    assert template.description is not None
    assert "1 to 100" in template.description


@pytest.mark.parametrize("number", ["0", "101", "007", "one"])
async def test_a_resource_that_does_not_exist_is_a_protocol_error(connect: Callable[..., Client], number: str) -> None:
    async with connect() as client:
        with pytest.raises(MCPError, match="1 to 100") as refused:
            await client.read_resource(f"test://static/resource/{number}")
    assert refused.value.error.code == INVALID_PARAMS


@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("test://static/resource/1", 1),
        ("test://static/resource/100", 100),
        ("test://static/resource/101", None),
        ("test://static/resource/01", None),
        ("test://static/resource/1/2", None),
        ("test://other/1", None),
    ],
)
def test_a_uri_is_known_by_its_number(uri: str, number: int | None) -> None:
    assert number_of(uri) == number
