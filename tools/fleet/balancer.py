"""The load balancer before the workers: nginx as it is shipped, else a few lines of Python; both strictly in turn.

Neither knows what a session is. Request n goes to worker n modulo the number of workers, whatever client sent it; a
worker that refuses the connection was sent nothing, so the next one is asked.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.fleet.children import LOOPBACK, Child, listens, start

HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx.conf"
"""What is run here is what is shipped."""

CHANGES = (
    (
        r"^worker_processes auto;",
        "daemon off;\npid {folder}/nginx.pid;\nerror_log stderr warn;\nworker_processes auto;",
    ),
    (
        r"^  access_log /dev/stdout;",
        "  log_format served '$upstream_addr $request_method $uri $status $http_mcp_session_id $http_x_call';\n"
        "  access_log {folder}/served.log served;\n"
        "  client_body_temp_path {folder}/body;\n"
        "  proxy_temp_path {folder}/proxy;\n"
        "  fastcgi_temp_path {folder}/fastcgi;\n"
        "  uwsgi_temp_path {folder}/uwsgi;\n"
        "  scgi_temp_path {folder}/scgi;",
    ),
    (r"^    listen \d+;", "    listen {address};"),
)
"""What another place needs, and nothing else: a folder, a log that says whose turn it was, and where to listen."""

SERVERS = re.compile(r"^    server worker-\d+:\d+(?P<options>.*);\n(?:    server .*\n)*", re.MULTILINE)


def render(folder: Path, port: int, workers: Sequence[int]) -> str:
    """The shipped configuration, with these workers, at this port of the loopback address."""
    text = SHIPPED.read_text()
    for pattern, replacement in CHANGES:
        text = _once(
            re.compile(pattern, re.MULTILINE), replacement.format(folder=folder, address=f"{LOOPBACK}:{port}"), text
        )
    found = SERVERS.search(text)
    options = found["options"] if found else ""
    return _once(SERVERS, "".join(f"    server {LOOPBACK}:{worker}{options};\n" for worker in workers), text)


def _once(pattern: re.Pattern[str], replacement: str, text: str) -> str:
    changed, count = pattern.subn(lambda _: replacement, text)
    if count != 1:
        raise ValueError(f"{SHIPPED.name}: {pattern.pattern!r} stands in it {count} times instead of once")
    return changed


@dataclass(frozen=True)
class Balancer:
    """A running load balancer."""

    what: str
    url: str
    child: Child

    def turns(self, method: str = "POST") -> list[int]:
        """The ports of the workers that answered the finished requests with this method, in order."""
        log = self.child.log.with_name("served.log")
        lines = log.read_text().splitlines() if log.exists() else []
        return [int(addresses.rsplit(":", 1)[1]) for addresses, verb in _rows(lines) if verb == method]

    def served(self, method: str = "POST") -> Counter[int]:
        """How many finished requests with this method each worker's port answered."""
        return Counter(self.turns(method))


def find_nginx() -> str | None:
    """The nginx program, also where it is not on an ordinary user's PATH."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


def start_balancer(folder: Path, port: int, workers: Sequence[int], *, nginx: str | None) -> Balancer:
    """Start a load balancer on the port before the workers' ports: `nginx`, or the one in this file."""
    command = _nginx(nginx, folder, port, workers) if nginx else _python(folder, port, workers)
    child = start("balancer", command, folder)
    child.wait_until(lambda: listens(port), timeout=120)
    return Balancer("nginx" if nginx else "python", f"http://localhost:{port}", child)


def _nginx(nginx: str, folder: Path, port: int, workers: Sequence[int]) -> list[str]:
    conf = folder / "nginx.conf"
    folder.mkdir(parents=True, exist_ok=True)
    conf.write_text(render(folder, port, workers))
    return [nginx, "-e", "stderr", "-p", str(folder), "-c", str(conf)]


def _python(folder: Path, port: int, workers: Sequence[int]) -> list[str]:
    log = str(folder / "served.log")
    return [sys.executable, "-m", "tools.fleet.balancer", log, str(port), *(str(worker) for worker in workers)]


def _rows(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        # A request that found a dead worker names both, "a:1, b:2": the last one answered.
        addresses, verb = re.split(r" (?=[A-Z]+ /)", line, maxsplit=1)
        yield addresses, verb.split(" ", 1)[0]


async def _balance(log: Path, port: int, workers: Sequence[int]) -> None:
    """Serve until ended: one request a connection, each to the next worker in turn."""
    turns = itertools.cycle(workers)

    async def one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            worker, up_reader, up_writer = await _next_worker(turns, len(workers))
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return
        line, rest = head.split(b"\r\n", 1)
        peer = writer.get_extra_info("peername")[0]
        up_writer.write(line + b"\r\nConnection: close\r\nX-Forwarded-For: " + peer.encode() + b"\r\n")
        up_writer.write(re.sub(rb"(?im)^(connection|keep-alive|x-forwarded-[a-z]+|forwarded):[^\r]*\r\n", b"", rest))
        upload = asyncio.ensure_future(_pump(reader, up_writer))
        await _pump(up_reader, writer)
        upload.cancel()
        up_writer.close()
        with log.open("a") as out:
            out.write(f"{LOOPBACK}:{worker} {line.decode(errors='replace').partition('?')[0]}\n")

    server = await asyncio.start_server(one_request, LOOPBACK, port, limit=HEAD_LIMIT)
    async with server:
        await server.serve_forever()


async def _next_worker(turns: Iterator[int], attempts: int) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter]:
    for _ in range(attempts):
        worker = next(turns)
        try:
            return worker, *(await asyncio.open_connection(LOOPBACK, worker))
        except ConnectionRefusedError:
            continue
    raise ConnectionRefusedError("no worker accepts connections")


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    except (ConnectionError, BrokenPipeError):
        return
    finally:
        # Neither side of HTTP closes by half: whoever has gone, the other is told.
        target.close()


if __name__ == "__main__":
    asyncio.run(_balance(Path(sys.argv[1]), int(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
