"""A loopback proxy before the balancer: it pins the handshake's protocol version, or brings a bearer token.

The suite can do neither: its client always asks for the newest handshake version, and it sends no token. One request a
connection; nothing else is changed on the way, the Host header included.

`python -m tools.conformance.front PORT UPSTREAM_PORT`, with `FRONT_WIRE` and `FRONT_TOKEN` in the environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from dataclasses import dataclass

from tools.fleet.children import LOOPBACK

HEAD_LIMIT = 64 * 1024
CHUNK = 64 * 1024
PINNED = "pinned"
"""What is logged for each handshake whose version was changed."""

_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)\r$")
_DROPPED = re.compile(rb"(?im)^(connection|keep-alive|authorization):[^\r]*\r\n")


@dataclass(frozen=True)
class Edit:
    """What is changed on the way."""

    wire: str | None = None
    token: str | None = None

    def head(self, head: bytes) -> bytes:
        """The request's head as it goes on: one request a connection, and with the token."""
        line, rest = head.split(b"\r\n", 1)
        added = b"Connection: close\r\n"
        if self.token is not None:
            added += b"Authorization: Bearer " + self.token.encode() + b"\r\n"
        return line + b"\r\n" + added + (_DROPPED.sub(b"", rest) if self.token else _without_connection(rest))

    def body(self, body: bytes) -> bytes:
        """The request's body as it goes on: `initialize` asks for the pinned version."""
        if self.wire is None or b'"initialize"' not in body:
            return body
        try:
            message = json.loads(body)
        except ValueError:
            return body
        if not isinstance(message, dict) or message.get("method") != "initialize":
            return body
        message["params"]["protocolVersion"] = self.wire
        print(PINNED, flush=True)
        return json.dumps(message).encode()


def _without_connection(head: bytes) -> bytes:
    return re.sub(rb"(?im)^(connection|keep-alive):[^\r]*\r\n", b"", head)


async def serve(port: int, upstream: int, edit: Edit) -> None:
    """Serve until ended."""

    async def one_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = edit.head(await reader.readuntil(b"\r\n\r\n"))
            length = _LENGTH.search(head)
            if length is not None:
                body = edit.body(await reader.readexactly(int(length[1])))
                head = _LENGTH.sub(b"Content-Length: %d\r" % len(body), head) + body
            up_reader, up_writer = await asyncio.open_connection(LOOPBACK, upstream)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.close()
            return
        up_writer.write(head)
        upload = asyncio.ensure_future(_pump(reader, up_writer))
        await _pump(up_reader, writer)
        upload.cancel()
        up_writer.close()

    server = await asyncio.start_server(one_request, LOOPBACK, port, limit=HEAD_LIMIT)
    async with server:
        await server.serve_forever()


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(CHUNK):
            target.write(data)
            await target.drain()
    except ConnectionError:
        return
    finally:
        target.close()  # whoever has gone, the other is told


if __name__ == "__main__":
    edit = Edit(os.environ.get("FRONT_WIRE") or None, os.environ.get("FRONT_TOKEN") or None)
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), edit))
