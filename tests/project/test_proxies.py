"""The proxies of docs/proxies.md, run as they stand there, with other addresses."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.fleet.children import LOOPBACK, free_port, listens, start

DOCUMENT = (Path(__file__).parents[2] / "docs" / "proxies.md").read_text()
SBIN = f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin"
FORGED = {
    "X-Forwarded-For": "203.0.113.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.1;host=evil.example;proto=https",
}


class Worker(http.server.BaseHTTPRequestHandler):
    """Answers with what reached it."""

    def do_GET(self) -> None:
        said = [[name.lower(), value] for name, value in self.headers.items()]
        answer = json.dumps({"port": self.server.server_port, "path": self.path, "headers": said}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


def caddy(text: str, port: int, workers: list[int]) -> tuple[str, list[str]]:
    text = text.replace("mcp.example.com {", f"http://{LOOPBACK}:{port}, http://localhost:{port} {{")
    text = "{\n  admin off\n}\n" + _at(text, workers)
    return text, ["caddy", "run", "--adapter", "caddyfile", "--config"]


def haproxy(text: str, port: int, workers: list[int]) -> tuple[str, list[str]]:
    return _at(text.replace("bind :3232", f"bind {LOOPBACK}:{port}"), workers), ["haproxy", "-db", "-f"]


def _at(text: str, workers: list[int]) -> str:
    for number, worker in enumerate(workers, 1):
        text = text.replace(f"worker-{number}:3232", f"{LOOPBACK}:{worker}")
    return text


@pytest.fixture
def workers() -> Iterator[list[int]]:
    """One worker that answers, and one that is away."""
    with ExitStack() as stack:
        server = stack.enter_context(http.server.ThreadingHTTPServer((LOOPBACK, 0), Worker))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield [server.server_port, free_port()]


@pytest.fixture(params=[("caddyfile", caddy), ("haproxy", haproxy)], ids=["caddy", "haproxy"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path, workers: list[int]) -> Iterator[str]:
    language, rendered = request.param
    render: Callable[[str, int, list[int]], tuple[str, list[str]]] = rendered
    (block,) = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    port = free_port()
    text, (program, *options) = render(block, port, workers)
    found = shutil.which(program, path=SBIN)
    if found is None:
        pytest.skip(f"{program} is not installed")
    file = tmp_path / "proxy.conf"
    file.write_text(text)
    env = {**os.environ, "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    child = start("proxy", [found, *options, str(file)], tmp_path, env)
    child.wait_until(lambda: listens(port), 120)
    yield f"http://{LOOPBACK}:{port}"
    child.stop()


def test_a_documented_proxy_overwrites_what_it_forwards_strips_nothing_and_asks_the_worker_that_lives(
    proxy: str, workers: list[int]
) -> None:
    for _ in range(4):
        request = urllib.request.Request(f"{proxy}/tools/mcp?preset=dev", headers=FORGED)  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            said = json.loads(answer.read())
        forwarded = {name: value for name, value in said["headers"] if "forwarded" in name}
        assert (said["port"], said["path"]) == (workers[0], "/tools/mcp?preset=dev")
        assert forwarded == {
            "x-forwarded-for": LOOPBACK,
            "x-forwarded-proto": "http",
            "x-forwarded-host": proxy.removeprefix("http://"),
        }
        assert [value for name, value in said["headers"] if name == "host"] == [proxy.removeprefix("http://")]
