"""A client of the standard library alone, started as a process: signs in through BROWSER, calls a tool, and ends.

`small_client.py URL [HOW]`, where HOW is `crash` (ends by SIGSEGV once it has read the metadata), `refuse` (stops there
with exit code 1), `hang` (stays there), or nothing (does everything right).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

VERIFIER = "v" * 43


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, Any]:
    """Status, headers and JSON of one request."""
    sent = {"User-Agent": "small-client/1.0", **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, sent), timeout=20) as answer:  # noqa: S310
            return answer.status, answer.headers, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, None


def call(url: str, token: str = "") -> tuple[int, Any, Any]:
    """Call the tool `read`."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "read", "arguments": {}}}
    authorization = {"Authorization": f"Bearer {token}"} if token else {}
    return ask(
        url,
        json.dumps(message).encode(),
        Content_Type="application/json",
        Accept="application/json, text/event-stream",
        **authorization,
    )


def came_back(server: HTTPServer, page: str) -> dict[str, str]:
    """What the browser brought to the callback."""
    found: dict[str, str] = {}

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.update(urllib.parse.parse_qsl(self.path.partition("?")[2]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server.RequestHandlerClass = Callback
    waiting = threading.Thread(target=server.handle_request)
    waiting.start()
    subprocess.run([*shlex.split(os.environ["BROWSER"]), page], check=True)
    waiting.join(20)
    return found


def main(url: str, how: str = "") -> int:
    """What this client does."""
    assert url == os.environ["MCP_URL"]
    status, headers, _ = call(url)
    where = headers["www-authenticate"].partition('resource_metadata="')[2].partition('"')[0]
    _, _, resource = ask(where)
    parts = urllib.parse.urlsplit(resource["authorization_servers"][0])
    _, _, issuer = ask(f"{parts.scheme}://{parts.netloc}/.well-known/oauth-authorization-server{parts.path}")
    sys.stdout.write(f"told {status}; \x1b[31mhome is {os.environ['HOME']}\n")
    sys.stdout.flush()
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "hang":
        signal.pause()
    if how == "refuse":
        return 1
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    back = f"http://127.0.0.1:{server.server_port}/back"
    about = json.dumps({"redirect_uris": [back], "client_name": "<b>Small</b>"}).encode()
    _, _, client = ask(issuer["registration_endpoint"], about, Content_Type="application/json")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    asked = {"client_id": client["client_id"], "redirect_uri": back, "resource": url}
    query = {**asked, "code_challenge": challenge, "code_challenge_method": "S256", "state": "s", "scope": "read"}
    brought = came_back(server, f"{issuer['authorization_endpoint']}?{urllib.parse.urlencode(query)}")
    form = {**asked, "grant_type": "authorization_code", "code": brought["code"], "code_verifier": VERIFIER}
    _, _, tokens = ask(issuer["token_endpoint"], urllib.parse.urlencode(form).encode())
    status, _, answered = call(url, tokens["access_token"])
    sys.stdout.write(f"{status} {json.dumps(answered)}\n")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
