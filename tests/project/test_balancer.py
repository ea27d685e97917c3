"""The load balancer that the journeys run behind: strictly in turn, and blind to sessions."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fleet.balancer import Balancer, find_nginx, start_balancer
from fleet.children import LOOPBACK, free_port


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers every POST with its own port and the body it got."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = f"{self.server.server_port} {body.decode()}".encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
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


def ask(url: str, body: str) -> tuple[int, str]:
    with urllib.request.urlopen(urllib.request.Request(url, data=body.encode(), method="POST"), timeout=10) as answer:  # noqa: S310
        port, text = answer.read().decode().split(" ", 1)
        return int(port), text


def test_requests_go_to_the_workers_strictly_in_turn(balancer: Balancer, echo_ports: list[int]) -> None:
    answers = [ask(balancer.url, f"request {n}") for n in range(6)]
    assert [text for _, text in answers] == [f"request {n}" for n in range(6)]
    ports = [port for port, _ in answers]
    assert ports in (echo_ports * 3, echo_ports[::-1] * 3)
    balancer.child.wait_until(lambda: balancer.served() == dict.fromkeys(echo_ports, 3), timeout=5)


def test_a_dead_worker_costs_no_request(tmp_path: Path, echo_ports: list[int]) -> None:
    dead = free_port()
    nginx = find_nginx()
    running = start_balancer(tmp_path, free_port(), [dead, *echo_ports], nginx=nginx)
    try:
        assert {ask(running.url, "still there")[0] for _ in range(4)} == set(echo_ports)
    finally:
        running.child.stop()
