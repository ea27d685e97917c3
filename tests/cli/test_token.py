from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable

import pytest

from switchboard.cli.login import LoginFailed, obtain_token
from tools.fleet.children import LOOPBACK, Child, answers, free_port
from tools.messages import INITIALIZE

Launch = Callable[..., Child]
PATIENCE = 300
MCP = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}


def served(launch: Launch, **env: str) -> str:
    """The base URL of a server that is ready."""
    port = free_port()
    launch("serve", "--port", str(port), **env).wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    return f"http://localhost:{port}"


def printed(child: Child) -> tuple[int, str]:
    return child.process.wait(PATIENCE), child.log.read_text()


def initialize(base: str, token: str) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, int(base.rpartition(":")[2]), timeout=120)
    try:
        connection.request("POST", "/mcp", json.dumps(INITIALIZE), {**MCP, "Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_token_is_all_that_is_printed_and_it_works(launch: Launch, integrated: str) -> None:
    code, out = printed(launch("token", "--user", "alice", "--url", integrated))
    assert code == 0
    token = out.removesuffix("\n")
    assert re.fullmatch(r"[\x21-\x7e]+", token)
    assert initialize(integrated, token) == 200
    assert initialize(integrated, token + "x") == 401


def test_the_endpoint_may_be_named_and_other_scopes_asked_for(integrated: str) -> None:
    token = obtain_token(f"{integrated}/mcp", user="bob", scope="mcp:tools mcp:resources")
    assert initialize(integrated, token) == 200


def test_a_scope_that_does_not_exist_is_refused_in_one_line(launch: Launch, integrated: str) -> None:
    code, out = printed(launch("token", "--scope", "everything:ever", "--url", integrated))
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "invalid_scope" in out or "invalid_client_metadata" in out


def test_a_user_that_the_identity_provider_does_not_take_is_refused(integrated: str) -> None:
    with pytest.raises(LoginFailed):
        obtain_token(integrated, user="<script>")


def test_a_server_without_authorization_needs_no_token(launch: Launch) -> None:
    base = served(launch, AUTH_MODE="none")
    with pytest.raises(LoginFailed, match="needs no token"):
        obtain_token(base, user="alice")


def test_a_server_that_is_not_there_is_one_line(launch: Launch) -> None:
    code, out = printed(launch("token", "--url", f"http://localhost:{free_port()}"))
    assert code == 1
    assert len(out.splitlines()) == 1
    assert "did not answer" in out


def test_the_authorization_server_on_its_own_gives_tokens_for_the_other_process(launch: Launch) -> None:
    issuer_port, port = free_port(), free_port()
    both = {
        "AUTH_SERVER_PORT": str(issuer_port),
        "AUTH_SERVER_URL": f"http://localhost:{issuer_port}",
        "BASE_URI": f"http://localhost:{port}",
        "SECRET_KEY": "shared-by-both-0123456789abcdefghijklmnop",
    }
    issuer = launch("auth-server", **both)
    issuer.wait_until(lambda: answers(issuer_port, "/.well-known/oauth-authorization-server"), PATIENCE)
    server = launch("serve", "--port", str(port), AUTH_MODE="separate", **both)
    server.wait_until(lambda: answers(port, "/readyz"), PATIENCE)
    token = obtain_token(f"http://localhost:{port}", user="alice")
    assert initialize(f"http://localhost:{port}", token) == 200
    assert issuer.stop() in (0, -15)
    assert initialize(f"http://localhost:{port}", "sba_" + "x" * 60) == 503


def test_the_version_is_printed(launch: Launch) -> None:
    code, out = printed(launch("version"))
    assert code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", out)
