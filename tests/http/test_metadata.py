from __future__ import annotations

import httpx2
import pytest
from starlette.applications import Starlette

from switchboard.http.metadata import resource_metadata_routes, resource_metadata_url

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@pytest.mark.parametrize(
    ("resource", "url"),
    [
        ("https://h.example/mcp", f"https://h.example{WELL_KNOWN}/mcp"),
        ("http://localhost:3232/base/mcp", f"http://localhost:3232{WELL_KNOWN}/base/mcp"),
        ("https://h.example", f"https://h.example{WELL_KNOWN}"),
        ("https://h.example/", f"https://h.example{WELL_KNOWN}"),
    ],
)
def test_the_path_goes_behind_the_well_known_part(resource: str, url: str) -> None:
    assert resource_metadata_url(resource) == url


def serve(resource: str, *, at_root: bool = True) -> httpx2.AsyncClient:
    routes = resource_metadata_routes(
        resource,
        authorization_servers=["https://issuer.example/tenant/"],
        scopes=["mcp", "admin"],
        name="Switchboard",
        at_root=at_root,
    )
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(Starlette(routes=routes)), base_url="https://h.example")


@pytest.mark.parametrize("path", [f"{WELL_KNOWN}/mcp", WELL_KNOWN])
async def test_the_document_is_at_the_inserted_path_and_at_the_root_byte_for_byte(path: str) -> None:
    async with serve("https://h.example/mcp") as http:
        answer = await http.get(path)
    assert answer.json() == {
        "resource": "https://h.example/mcp",
        "authorization_servers": ["https://issuer.example/tenant/"],
        "scopes_supported": ["mcp", "admin"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Switchboard",
    }
    assert answer.headers["content-type"] == "application/json"


async def test_a_second_resource_leaves_the_root_to_the_first() -> None:
    async with serve("https://h.example/sse", at_root=False) as http:
        assert (await http.get(f"{WELL_KNOWN}/sse")).status_code == 200
        assert (await http.get(WELL_KNOWN)).status_code == 404


async def test_metadata_is_only_read() -> None:
    async with serve("https://h.example/mcp") as http:
        assert (await http.post(WELL_KNOWN)).status_code == 405
