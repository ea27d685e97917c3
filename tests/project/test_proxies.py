"""The proxies of deploy/, run as they are shipped, with other addresses. nginx has its own tests: test_balancer.py."""

from __future__ import annotations

import http.server
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tools.fleet.children import LOOPBACK, free_port
from tools.fleet.proxies import PROXIES

PATIENCE_S = 300
FORGED = {
    "X-Forwarded-For": "203.0.113.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.1;host=evil.example;proto=https",
}


class Worker(http.server.BaseHTTPRequestHandler):
    """Answers with what reached it; at /stream with an event, and with the next when the client has read the first.

    A POST is read and counted, and gets no answer: the connection is closed.
    """

    protocol_version = "HTTP/1.1"
    was_read = threading.Event()
    posts = 0

    def do_GET(self) -> None:
        if self.path == "/stream":
            self._stream()
            return
        said = [[name.lower(), value] for name, value in self.headers.items()]
        answer = json.dumps({"port": self.server.server_port, "path": self.path, "headers": said}).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).posts += 1
        self.close_connection = True

    def _stream(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(3):
            self.was_read.clear()
            self.wfile.write(f"data: {number}\n\n".encode())
            if not self.was_read.wait(PATIENCE_S):
                return

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def workers() -> Iterator[list[int]]:
    """One worker that answers, and one that is away."""
    with ExitStack() as stack:
        server = stack.enter_context(http.server.ThreadingHTTPServer((LOOPBACK, 0), Worker))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        stack.callback(thread.join)
        stack.callback(server.shutdown)
        yield [server.server_port, free_port()]


@pytest.fixture(params=sorted(PROXIES))
def proxy(request: pytest.FixtureRequest, tmp_path: Path, workers: list[int]) -> Iterator[str]:
    kind = PROXIES[request.param]
    if kind.found() is None:
        pytest.skip(f"{request.param} is not installed")
    port = free_port()
    child = kind.start(tmp_path, port, workers)
    yield f"http://{LOOPBACK}:{port}"
    child.stop()


def test_a_shipped_proxy_overwrites_what_it_forwards_strips_nothing_and_asks_the_worker_that_lives(
    proxy: str, workers: list[int]
) -> None:
    named = {name.lower() for name in FORGED}
    for _ in range(4):
        request = urllib.request.Request(f"{proxy}/tools/mcp?preset=dev", headers=FORGED)  # noqa: S310
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:  # noqa: S310
            said = json.loads(answer.read())
        forwarded = {name: value for name, value in said["headers"] if name in named}
        assert (said["port"], said["path"]) == (workers[0], "/tools/mcp?preset=dev")
        assert forwarded == {
            "x-forwarded-for": LOOPBACK,
            "x-forwarded-proto": "http",
            "x-forwarded-host": proxy.removeprefix("http://"),
        }
        assert [value for name, value in said["headers"] if name == "host"] == [proxy.removeprefix("http://")]


def test_a_shipped_proxy_passes_each_event_of_a_stream_on_before_the_next_is_written(proxy: str) -> None:
    with urllib.request.urlopen(f"{proxy}/stream", timeout=PATIENCE_S) as answer:  # noqa: S310
        for number in range(3):
            assert (answer.readline(), answer.readline()) == (f"data: {number}\n".encode(), b"\n")
            Worker.was_read.set()


def test_a_shipped_proxy_brings_a_post_to_the_worker_that_lives_and_never_repeats_one_that_a_worker_has_read(
    proxy: str,
) -> None:
    arrived, deadline = 0, time.monotonic() + PATIENCE_S
    while arrived < 4:  # in a row: a proxy that looks whether workers live may need a moment to have looked
        assert time.monotonic() < deadline
        Worker.posts = 0
        request = urllib.request.Request(f"{proxy}/mcp", data=b"{}")  # noqa: S310
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=PATIENCE_S)  # noqa: S310
        with refused.value:
            assert refused.value.code in {502, 503}
        assert Worker.posts <= 1
        arrived = arrived + 1 if Worker.posts else 0
