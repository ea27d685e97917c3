"""The load balancer that the journeys run behind: strictly in turn, and blind to sessions."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tools.fleet.balancer import SHIPPED, Balancer, find_nginx, render, start_balancer
from tools.fleet.children import LOOPBACK, free_port


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every POST with its own port and the body it got; a GET with the headers it got; `/long` when told to."""

    protocol_version = "HTTP/1.1"
    go_on = threading.Event()
    begun = threading.Event()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/long":
            self.begun.set()
            self.go_on.wait(30)
        self._answer(f"{self.server.server_port} {body.decode()}".encode())  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        self._answer(json.dumps([[name.lower(), value] for name, value in self.headers.items()]).encode())

    def _answer(self, answer: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Connection", "close")  # so that whoever has left answers nothing on a kept connection
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@pytest.fixture
def echo_ports() -> Iterator[list[int]]:
    with ExitStack() as stack:
        ports = []
        for _ in range(2):
            server = stack.enter_context(http.server.ThreadingHTTPServer((LOOPBACK, 0), Echo))
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            ports.append(server.server_port)
        yield ports


@pytest.fixture(params=["nginx", "python"])
def balancer(request: pytest.FixtureRequest, tmp_path: Path, echo_ports: list[int]) -> Iterator[Balancer]:
    nginx = find_nginx() if request.param == "nginx" else None
    if request.param == "nginx" and nginx is None:
        pytest.skip("nginx is not installed")
    running = start_balancer(tmp_path, free_port(), echo_ports, nginx=nginx)
    yield running
    running.child.stop()


@contextmanager
def worker(port: int) -> Iterator[None]:
    """An echo at this port, for as long as the block runs."""
    with http.server.ThreadingHTTPServer((LOOPBACK, port), Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def ask(url: str, body: str) -> tuple[int, str]:
    with urllib.request.urlopen(urllib.request.Request(url, data=body.encode(), method="POST"), timeout=60) as answer:  # noqa: S310
        port, text = answer.read().decode().split(" ", 1)
        return int(port), text


def test_requests_go_to_the_workers_strictly_in_turn(balancer: Balancer, echo_ports: list[int]) -> None:
    answers = [ask(balancer.url, f"request {n}") for n in range(6)]
    assert [text for _, text in answers] == [f"request {n}" for n in range(6)]
    ports = [port for port, _ in answers]
    assert ports in (echo_ports * 3, echo_ports[::-1] * 3)
    balancer.child.wait_until(lambda: balancer.served() == dict.fromkeys(echo_ports, 3), timeout=120)


def test_a_dead_worker_costs_no_request(tmp_path: Path, echo_ports: list[int]) -> None:
    dead = free_port()
    nginx = find_nginx()
    running = start_balancer(tmp_path, free_port(), [dead, *echo_ports], nginx=nginx)
    try:
        assert {ask(running.url, "still there")[0] for _ in range(4)} == set(echo_ports)
    finally:
        running.child.stop()


def test_a_worker_that_is_back_is_asked_when_the_other_one_leaves(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    running = start_balancer(tmp_path, free_port(), [first, second], nginx=find_nginx())
    try:
        with worker(first):
            assert [ask(running.url, "the second is away")[0] for _ in range(2)] == [first, first]
        with worker(second):
            assert [ask(running.url, "the first is away")[0] for _ in range(4)] == [second] * 4
    finally:
        running.child.stop()


def test_a_worker_whose_first_request_after_its_return_is_long_serves_others_meanwhile(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    running = start_balancer(tmp_path, free_port(), [first, second], nginx=find_nginx())
    Echo.go_on.clear()
    Echo.begun.clear()
    try:
        with worker(first):
            assert [ask(running.url, "the second is away")[0] for _ in range(2)] == [first, first]
        with worker(second), ThreadPoolExecutor() as threads:
            long = threads.submit(ask, f"{running.url}/long", "the first after its return")
            assert Echo.begun.wait(10)
            assert [ask(running.url, "the first is away")[0] for _ in range(4)] == [second] * 4
            Echo.go_on.set()
            assert long.result(timeout=10)[0] == second
    finally:
        Echo.go_on.set()
        running.child.stop()


FORGED = {
    "X-Forwarded-For": "203.0.113.1",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.1;host=evil.example;proto=https",
}


def test_nothing_that_a_client_says_about_itself_reaches_a_worker(balancer: Balancer) -> None:
    request = urllib.request.Request(balancer.url, headers=FORGED)  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        said = json.loads(answer.read())
    forwarded = {name: value for name, value in said if "forwarded" in name}
    assert set(FORGED.values()) & set(forwarded.values()) == set()
    assert forwarded["x-forwarded-for"] == LOOPBACK
    assert forwarded.get("x-forwarded-host", "") in ("", balancer.url.removeprefix("http://"))
    assert "forwarded" not in forwarded


def test_what_is_run_here_is_what_is_shipped_but_for_places(tmp_path: Path) -> None:
    shipped = SHIPPED.read_text().splitlines()
    rendered = render(tmp_path, 1234, [1, 2, 3]).splitlines()
    left = [line for line in shipped if line not in rendered]
    assert left == [
        "  access_log /dev/stdout;",
        "    server worker-1:3232 max_fails=0;",
        "    server worker-2:3232 max_fails=0;",
        "    listen 3232;",
    ]
    assert [line for line in rendered if "max_fails" in line and "server" in line.split()] == [
        f"    server {LOOPBACK}:{port} max_fails=0;" for port in (1, 2, 3)
    ]


def test_a_configuration_that_cannot_be_rendered_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "nginx.conf"
    other.write_text(SHIPPED.read_text().replace("listen 3232;", "listen 80; # changed\n    listen 3232;"))
    monkeypatch.setattr("tools.fleet.balancer.SHIPPED", other)
    with pytest.raises(ValueError, match="listen"):
        render(tmp_path, 1234, [1])
