"""The document of the API (OpenAPI 3.1) and a page of it, which loads nothing from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from switchboard.common.pages.renderer import Pages

PATHS: Final = ("/openapi.json", "/docs")


def reference(api: FastAPI, version: str) -> ASGIApp:
    """The two routes, below where the API stands."""
    document = api.openapi()
    document["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"bearer": []}]
    pages = Pages(Path(__file__).parent / "templates", f"Switchboard {version}")
    operations = [
        {"method": method.upper(), "path": path, **_told(operation, document)}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    async def openapi(_request: Request) -> Response:
        return JSONResponse(document)

    async def page(_request: Request) -> Response:
        return pages.show("reference.html", operations=operations, server=document["servers"][0]["url"])

    return Starlette(routes=[Route(path, served) for path, served in zip(PATHS, (openapi, page), strict=True)])


def _told(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    answers = {status: answer for status, answer in operation["responses"].items() if status.startswith("2")}
    status, answer = next(iter(answers.items()))
    return {
        "name": operation["operationId"],
        "about": operation.get("description", operation["summary"]),
        "parameters": [
            {"name": each["name"], "place": each["in"], "about": each.get("description", "")}
            for each in operation.get("parameters", ())
        ],
        "body": _schema(operation.get("requestBody", {}), document),
        "status": status,
        "answer": _schema(answer, document),
    }


def _schema(holder: dict[str, Any], document: dict[str, Any]) -> str:
    """The schema of a body as JSON, with what it refers to in place; empty if there is none."""
    content: dict[str, Any] = next(iter(holder.get("content", {}).values()), {})
    return json.dumps(_resolved(content["schema"], document, ()), indent=2) if "schema" in content else ""


def _resolved(schema: Any, document: dict[str, Any], above: tuple[str, ...]) -> Any:
    if isinstance(schema, list):
        return [_resolved(each, document, above) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (name := schema.get("$ref")) is not None:
        if name in above:
            return {"$ref": name}
        target = document["components"]["schemas"][name.rpartition("/")[2]]
        return _resolved(target, document, (*above, name))
    return {key: _resolved(value, document, above) for key, value in schema.items() if key != "title"}
