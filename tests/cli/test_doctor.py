"""The mistakes that `switchboard doctor` finds, each made here, and what it says to do."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import re
import resource
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route
from typer.testing import CliRunner, Result

from switchboard.cli.checks import address
from switchboard.cli.checks.address import reached
from switchboard.cli.checks.machine import Finding, clock, open_files, port, private
from switchboard.cli.commands import app
from switchboard.settings import Settings, load_settings
from tests.sessions.conftest import serving as worker
from tools.fleet.children import free_port
from tools.serving import serving

Run = Callable[..., Result]
KEY = "a key that is long enough to be one"
PUBLIC = {"BASE_URI": "https://mcp.example.com", "HOST": "0.0.0.0"}  # noqa: S104
UPSTREAM = {
    "UPSTREAM": "github",
    "UPSTREAM_CLIENT_ID": "id",
    "UPSTREAM_CLIENT_SECRET": "s",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(REDIS_URL=…)` in an empty folder, without a setting of this machine."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)

    def examined(*words: str, **env: str) -> Result:
        given = {"CACHE_DIR": str(tmp_path / "cache"), "PORT": str(free_port()), **env}
        return CliRunner().invoke(app, ["doctor", *words], env=given)

    return examined


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"WORKERS": "2"}, "start Redis"),
        ({"REDIS_URL": "redis://127.0.0.1:9"}, "SECRET_KEY"),
        ({"SECRET_KEY": "short"}, "SECRET_KEY"),
        ({"AUTH_MODE": "none", **PUBLIC}, "Use AUTH_MODE=integrated"),
        ({**PUBLIC, "LAB": "on", "SECRET_KEY": KEY, **UPSTREAM}, "Set LAB=off"),
        ({**PUBLIC, "SECRET_KEY": KEY}, "the fake identity provider lets anybody sign in"),
        ({"AUTH_MODE": "separate"}, "set it to the issuer's URL"),
        ({"PORT": "99999"}, "PORT"),
    ],
)
def test_settings_that_do_not_fit_are_named_with_what_to_set(run: Run, env: dict[str, str], said: str) -> None:
    done = run(**env)
    assert done.exit_code == 1
    assert done.stdout.startswith("FAILED   settings: ")
    assert said in done.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mcpServer: {}", "mcpServer"),
        ("mcpServers: {a b: {command: cat}, a-b: {command: cat}}", "would both be called 'a-b'"),
        ("mcpServers: {x: {command: no-such-program}}", "'no-such-program' is not on the PATH"),
        ("mcpServers: {x: {url: 'http://example.com/mcp'}}", "use https, or set 'insecure'"),
        ("mcpServers: {x: {command: cat, env: {K: '${NOT_SET_ANYWHERE}'}}}", "NOT_SET_ANYWHERE is not set"),
        ("presets: {p: {servers: [none]}}", "there is no plugin or server 'none'"),
    ],
)
def test_a_configuration_that_is_wrong_is_shown_with_the_place(run: Run, tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "switchboard.yaml"
    file.write_text(text)
    done = run(CONFIG_FILE=str(file))
    assert (done.exit_code, said in done.stdout) == (1, True), done.stdout


def test_findings_are_given_as_json(run: Run) -> None:
    found = json.loads(run("--json", ALLOWED_HOSTS="other.example").stdout)
    failed = [each["said"] for each in found if each["verdict"] == "failed"]
    assert len(failed) == 1
    assert "ALLOWED_HOSTS does not have localhost" in failed[0]


def test_origins_without_the_servers_own_are_found(run: Run) -> None:
    assert "ALLOWED_ORIGINS does not have http://localhost" in run(ALLOWED_ORIGINS="https://app.example").stdout


def test_a_redis_of_another_fleet_and_one_that_evicts_are_found(run: Run, redis_url: str) -> None:
    with Redis.from_url(redis_url) as redis:
        redis.set("fingerprint", "0123456789abcdef")
        other = run(REDIS_URL=redis_url, SECRET_KEY=KEY)
        assert (other.exit_code, "SECRET_KEY shares no key with" in other.stdout) == (1, True), other.stdout
        assert redis.get("fingerprint") == b"0123456789abcdef"
        redis.delete("fingerprint")
        before: Any = redis.config_get("maxmemory-policy")
        redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            evicts = run(REDIS_URL=redis_url, SECRET_KEY=KEY)
        finally:
            redis.config_set("maxmemory-policy", before["maxmemory-policy"])
    assert "Set maxmemory-policy to noeviction" in evicts.stdout
    assert "ok       clock: as Redis'" in evicts.stdout


def test_a_redis_that_is_too_old_is_found_with_the_version_that_is_needed(run: Run, redis_url: str) -> None:
    with older_redis(redis_url) as url:
        done = run(REDIS_URL=url, SECRET_KEY=KEY)
    assert done.exit_code == 1
    assert re.search(r"FAILED   state: Redis is 6\.\d+\.\d+: 7\.0 or newer is needed, or any Valkey", done.stdout)
    assert "newer is needed" not in run(REDIS_URL=redis_url, SECRET_KEY=KEY).stdout


@contextmanager
def older_redis(redis_url: str) -> Iterator[str]:
    """A Redis that says to be of version 6, with this one behind it."""
    behind = urlsplit(redis_url)
    assert behind.hostname
    assert behind.port
    address = (behind.hostname, behind.port)

    class Passing(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(address) as onward:
                back = threading.Thread(target=self.answer, args=(onward,))
                back.start()
                while part := self.request.recv(65536):
                    onward.sendall(part)
                onward.shutdown(socket.SHUT_WR)
                back.join()

        def answer(self, onward: socket.socket) -> None:
            with contextlib.suppress(OSError):  # the client went first
                while part := onward.recv(65536):
                    self.request.sendall(re.sub(rb"redis_version:\d", b"redis_version:6", part))

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Passing) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield behind._replace(netloc=f"127.0.0.1:{server.server_address[1]}").geturl()
        finally:
            server.shutdown()


def test_a_plugin_that_is_not_there_or_lacks_what_it_imports_is_found(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o700)
    (folder / "lacking.py").write_text("import no_such_package_anywhere")
    file = tmp_path / "switchboard.yaml"
    file.write_text("plugins: {lacking: {}, gone: {}, everything: {}, off: {enabled: false}}")
    done = run(CONFIG_FILE=str(file), PLUGINS_DIR=str(folder))
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED   plugin ")]
    assert done.exit_code == 1
    assert len(failed) == 2
    assert "No module named 'no_such_package_anywhere': install it for " in failed[0]
    assert "plugin gone: plugins.gone: no such plugin is installed" in failed[1]


async def test_a_backend_that_refuses_the_gateway_is_found_through_a_running_worker(
    run: Run, redis_url: str, tmp_path: Path
) -> None:
    async def refuse(_request: Any) -> Response:
        return Response("who are you?", 401)

    file = tmp_path / "switchboard.yaml"
    async with serving(Starlette(routes=[Route("/mcp", refuse, methods=["GET", "POST"])])) as backend:
        file.write_text(f"mcpServers: {{guarded: {{url: '{backend.url}/mcp', insecure: true}}}}")
        async with worker(redis_url, secret_key=KEY, config_file=file):
            env = {"REDIS_URL": redis_url, "SECRET_KEY": KEY, "CONFIG_FILE": str(file)}
            async with asyncio.timeout(60):  # until the worker has tried it
                while "server guarded" not in (done := await asyncio.to_thread(run, **env)).stdout:
                    pass
    assert done.exit_code == 1, done.stdout
    assert re.search(r"FAILED   server guarded on \S+: .*401", done.stdout), done.stdout


def test_a_clock_that_is_off_is_said_with_how_much() -> None:
    [ahead], [behind] = list(clock(time.time() - 60)), list(clock(time.time() + 600))
    assert "60 s ahead of Redis'" in ahead.said
    assert "600 s behind Redis'" in behind.said


def test_a_low_limit_of_open_files_is_found() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        [found] = open_files()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (found.verdict, "LimitNOFILE" in found.said) == ("warning", True)


@pytest.mark.parametrize(("mode", "verdict"), [(0o600, None), (0o640, None), (0o644, "warning"), (0o666, "failed")])
def test_a_file_with_secrets_that_others_may_read_or_change_is_found(
    tmp_path: Path, mode: int, verdict: str | None
) -> None:
    file = tmp_path / ".env"
    file.write_text("SECRET_KEY=x")
    file.chmod(mode)
    found = list(private([file, tmp_path / "none"]))
    assert [each.verdict for each in found] == ([verdict] if verdict else [])
    assert all(f"chmod 600 {file}" in each.said for each in found)


def test_a_port_that_another_program_has_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = load_settings(None, port=taken.getsockname()[1])
        [found] = port(settings, served_by_us=False)
        assert (found.verdict, "set PORT" in found.said) == ("warning", True)
        assert list(port(settings, served_by_us=True)) == []


# -- BASE_URI ---------------------------------------------------------------------------------------------------------

CHALLENGE = {"WWW-Authenticate": 'Bearer resource_metadata="x"'}


@asynccontextmanager
async def proxied(
    *, ready: Response | None = None, resource: str | None = "", challenge: Response | None = None, **config: Any
) -> AsyncIterator[int]:
    """What stands at BASE_URI, with one thing wrong; its port."""
    where = {"port": 0}

    async def metadata(_request: Any) -> Response:
        if resource is None:
            return Response(status_code=404)
        return JSONResponse({"resource": resource or f"http://localhost:{where['port']}/mcp"})

    async def probe(_request: Any) -> Response:
        return ready or JSONResponse({"status": "ready"})

    async def mcp(_request: Any) -> Response:
        return challenge or Response(status_code=401, headers=CHALLENGE)

    routes = [
        Route("/readyz", probe),
        Route("/.well-known/oauth-protected-resource/mcp", metadata),
        Route("/mcp", mcp, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes), **config) as server:
        where["port"] = server.port
        yield server.port


async def worst(base_uri: str, verify: ssl.SSLContext | bool = True) -> Finding:
    """The first thing that is wrong, or the last that is found."""
    settings = load_settings(None, base_uri=base_uri, secret_key=KEY)
    found = [each async for each in reached(settings, verify)]
    return next((each for each in found if each.verdict != "ok"), found[-1])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"ready": RedirectResponse("https://mcp.example.com/readyz")}, "Set BASE_URI to the address that answers"),
        ({"ready": Response("no", 421)}, "the proxy changes the Host header"),
        ({"ready": Response("no", 502)}, "the proxy does not reach the server"),
        ({"ready": Response("no", 404)}, "another program is there, or BASE_URI's path is not passed on"),
        ({"ready": Response("Redis is away", 503)}, "answers 503: Redis is away"),
        ({"resource": None}, "Pass /.well-known/ on, too"),
        ({"resource": "https://other.example/mcp"}, "give every worker the BASE_URI that clients use"),
        ({"challenge": Response(status_code=401)}, "comes without WWW-Authenticate"),
        ({"challenge": Response("<h1>Sign in</h1>", 200)}, "is answered 200 instead of 401"),
    ],
)
async def test_a_proxy_that_is_in_the_way_is_found(wrong: dict[str, Any], said: str) -> None:
    async with proxied(**wrong) as at:
        found = await worst(f"http://localhost:{at}")
    assert (found.verdict, said in found.said) == ("failed", True), found


async def test_a_server_that_is_reached_as_it_should_be_is_fine() -> None:
    async with proxied() as at:
        found = await worst(f"http://localhost:{at}")
        said = "/mcp asks for a token, and says where to get one; with --token, an event stream is looked at, too"
        assert found == Finding("address", "ok", said)
        plain = await worst(f"https://localhost:{at}")
    assert "is BASE_URI https, and the proxy http?" in plain.said
    gone = await worst(f"http://localhost:{free_port()}")
    assert (gone.verdict, "start the server" in gone.said) == ("warning", True)


@asynccontextmanager
async def passing(redis_url: str, *, buffering: bool) -> AsyncIterator[Settings]:
    """A worker behind a proxy that passes answers on as they come, or only once they are whole; the settings."""
    client = httpx2.AsyncClient(trust_env=False, timeout=30)

    async def passed(request: Request) -> Response:
        url = f"http://localhost:{up.port}{request.url.path}"
        sent = client.build_request(request.method, url, headers=request.headers.raw, content=await request.body())
        answer = await client.send(sent, stream=True)
        if buffering:
            await answer.aread()
        parts = answer.aiter_bytes()
        return StreamingResponse(parts, answer.status_code, {"content-type": answer.headers["content-type"]})

    proxy = Starlette(routes=[Route("/{path:path}", passed, methods=["GET", "POST"])])
    async with client, serving(proxy, timeout_graceful_shutdown=1) as front:
        base = f"http://localhost:{front.port}"
        async with worker(redis_url, secret_key=KEY, base_uri=base) as up:
            yield load_settings(None, base_uri=base, auth_mode="none", secret_key=KEY)


@pytest.mark.parametrize(
    ("buffering", "verdict", "said"),
    [
        (True, "failed", "a proxy keeps it back: switch its buffering off for /mcp"),
        (False, "ok", "the first event of a stream arrives at once"),
    ],
)
async def test_a_proxy_that_keeps_event_streams_back_is_found(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, buffering: bool, verdict: str, said: str
) -> None:
    monkeypatch.setattr(address, "FIRST_EVENT_S", 1.0 if buffering else 60.0)
    async with passing(redis_url, buffering=buffering) as settings:
        found = [each async for each in reached(settings)]
    assert (found[-1].verdict, said in found[-1].said) == (verdict, True), found


async def test_a_stream_that_is_refused_or_ended_is_told_of() -> None:
    async with proxied(challenge=Response("no", 418)) as at:
        settings = load_settings(None, base_uri=f"http://localhost:{at}", auth_mode="none", secret_key=KEY)
        refused = [each async for each in reached(settings, token="t")]
    assert (refused[-1].verdict, refused[-1].said) == ("warning", "an event stream is answered 418: no")
    async with proxied(challenge=Response("", 200)) as at:
        settings = load_settings(None, base_uri=f"http://localhost:{at}", auth_mode="none", secret_key=KEY)
        ended = [each async for each in reached(settings)]
    assert "ended before its first event" in ended[-1].said


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[[int], tuple[str, str]]:
    """Certificate and key of localhost, good for that many days from now, from its own authority."""

    def made(days: int) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        cert, private_key = tmp_path / "cert.pem", tmp_path / "key.pem"
        cert.write_bytes(built.public_bytes(serialization.Encoding.PEM))
        private_key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return str(cert), str(private_key)

    return made


@pytest.mark.parametrize(
    ("days", "trusted", "said"),
    [(30, False, "have clients trust its authority"), (-1, True, "certificate has expired: renew it")],
)
async def test_a_certificate_that_clients_refuse_is_found(
    certificate: Callable[[int], tuple[str, str]], days: int, trusted: bool, said: str
) -> None:
    cert, key = certificate(days)
    verify = ssl.create_default_context()
    if trusted:
        await asyncio.to_thread(verify.load_verify_locations, cert)
    async with proxied(ssl_certfile=cert, ssl_keyfile=key) as at:
        found = await worst(f"https://localhost:{at}", verify)
    assert (found.verdict, said in found.said) == ("failed", True), found
