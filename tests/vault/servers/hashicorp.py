"""A key-value engine of version 2, as HashiCorp Vault and OpenBao have it: what their public API says, in memory.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

TOKEN = "hvs.the-token-of-this-test"


class KeyValueEngine:
    """The engine, mounted at `secret`."""

    def __init__(self) -> None:
        self.secrets: defaultdict[str, list[Any]] = defaultdict(list)
        """Versions by path, the first is 1."""
        self.token = TOKEN
        self.namespaces: set[str] = set()
        self.app = Starlette(
            routes=[
                Route("/v1/secret/data/{path:path}", self.data, methods=["GET", "POST"]),
                Route("/v1/secret/metadata/{path:path}", self.metadata, methods=["GET", "DELETE"]),
            ]
        )

    async def data(self, request: Request) -> Response:
        """Read the newest version, or write one if the last is the one that `cas` names; 0 is none."""
        if refused := self._refused(request):
            return refused
        versions = self.secrets.get(request.path_params["path"], [])
        if request.method == "GET":
            if not versions:
                return JSONResponse({"errors": []}, 404)
            if versions[-1] is None:  # deleted, and not destroyed
                return JSONResponse({"data": {"data": None, "metadata": {"version": len(versions)}}}, 404)
            return JSONResponse({"data": {"data": versions[-1], "metadata": {"version": len(versions)}}})
        body = await request.json()
        if "cas" in body.get("options", {}) and body["options"]["cas"] != len(versions):
            return JSONResponse({"errors": ["check-and-set parameter did not match the current version"]}, 400)
        self.secrets[request.path_params["path"]].append(body["data"])
        return JSONResponse({"data": {"version": len(versions) + 1}})

    async def metadata(self, request: Request) -> Response:
        """List a folder, or remove a secret with its versions."""
        if refused := self._refused(request):
            return refused
        path = request.path_params["path"].rstrip("/") + "/"
        if request.method == "DELETE":
            self.secrets.pop(path.rstrip("/"), None)
            return Response(status_code=204)
        inside = [name.removeprefix(path) for name in self.secrets if name.startswith(path)]
        keys = sorted({name.split("/")[0] + ("/" if "/" in name else "") for name in inside})
        return JSONResponse({"data": {"keys": keys}} if keys else {"errors": []}, 200 if keys else 404)

    def _refused(self, request: Request) -> Response | None:
        self.namespaces.add(request.headers.get("x-vault-namespace", ""))
        if request.headers.get("x-vault-token") != self.token:
            return JSONResponse({"errors": ["permission denied"]}, 403)
        return None
