"""The rows of calls: what is asked of whom. Other rows (streams, starts, two workers) are in modules of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from scratch.bench.load import Ask
from scratch.bench.messages import Client
from scratch.bench.programs.tools import OTHERS, STEPS
from scratch.bench.servers import SDK_CHILD, SMALL, Server

SESSIONS_OF_BRIDGES: Final = 8
"""Some bridges start a child for each session."""

TURNS: Final = 4
"""Different requests that each connection sends in turn, so that an answer to another one is noticed."""

Makes = Callable[[Server, Client, str, int], Ask]
"""A server, one of its clients, a text, an id → a request."""


def echo(server: Server, client: Client, text: str, id: int) -> Ask:
    """A tool that needs nothing but its argument."""
    return client.call(server.tool, text, id=id, said=server.said)


def whoami(_server: Server, client: Client, text: str, id: int) -> Ask:
    """A tool that takes a context."""
    return client.call("whoami", text, id=id)


def steps(_server: Server, client: Client, text: str, id: int) -> Ask:
    """A tool that reports progress, to a client that wants it: each report must come."""
    ask = client.call("steps", text, id=id, meta={"progressToken": id})
    return replace(ask, holds=(*ask.holds, *(f'"step {number}"' for number in range(1, STEPS + 1))))


def page(_server: Server, client: Client, _text: str, id: int) -> Ask:
    """The first page of the tools, all twenty."""
    return client.ask("tools/list", id=id, holds=('"echo"', '"other_00"', f'"other_{OTHERS - 1:02}"'))


def guessed(_server: Server, client: Client, text: str, id: int) -> Ask:
    """A token of the right form that nobody was given."""
    wrong = client.token[:-12] + "".join(reversed(client.token[-12:])) if client.token else "x" * 60
    return replace(client, token=wrong).ask("tools/call", {"name": text}, id=id, status=401, fails=True)


def nameless(_server: Server, client: Client, text: str, id: int) -> Ask:
    """No token."""
    return replace(client, token="").ask("tools/call", {"name": text}, id=id, status=401, fails=True)


def unknown(_server: Server, client: Client, text: str, id: int) -> Ask:
    """A session that is not there."""
    asking = replace(client, modern=False, session=f"{id:032x}")
    return asking.ask("tools/call", {"name": text}, id=id, status=404, fails=True)


def limited(_server: Server, client: Client, text: str, id: int) -> Ask:
    """One call too many; each minute one is allowed, and does not count."""
    return replace(client.call("echo", text, id=id), holds=(), status=429, passes=200, fails=True)


@dataclass(frozen=True)
class Contestant:
    """Who is asked, and what."""

    name: str
    server: str
    asks: Makes = echo
    modern: bool = True
    sessions: int = 32
    """How many clients there are at most; the connections share them. Fewer, where each costs a process."""

    def plan(self, server: Server, connections: int) -> tuple[tuple[Ask, ...], ...]:
        """What each connection sends."""
        clients = [server.client(number, modern=self.modern) for number in range(min(connections, self.sessions))]
        return tuple(
            tuple(self._ask(server, clients[number % len(clients)], number, turn) for turn in range(TURNS))
            for number in range(connections)
        )

    def _ask(self, server: Server, client: Client, number: int, turn: int) -> Ask:
        return self.asks(server, client, f"hello {number} {turn}", number * TURNS + turn + 1)


@dataclass(frozen=True)
class Row:
    """Contestants that are measured in turns."""

    title: str
    contestants: tuple[Contestant, ...]
    direct: tuple[str, ...] = ()
    """The command of the child that stands behind all of them, and is measured without them."""

    without: Mapping[str, str] | None = None
    """Who cannot do it, and why."""


def _both(title: str, asks: Makes, *, modern: bool, more: tuple[Contestant, ...] = (), sse: bool = False) -> Row:
    """Ours beside the SDK's own server."""
    sdk = [Contestant("SDK, JSON", "sdk-json", asks, modern)]
    if sse:
        sdk.append(Contestant("SDK, SSE", "sdk-sse", asks, modern))
    return Row(title, (Contestant("Switchboard", "switchboard", asks, modern), *sdk, *more))


def _hop(title: str, of: str, command: tuple[str, ...]) -> Row:
    peers = ("supergateway", "mcp-proxy (npm)", "mcp-proxy (PyPI)", "FastMCP proxy")
    servers = ("supergateway", "mcp-proxy-npm", "mcp-proxy-pypi", "fastmcp")
    return Row(
        title,
        (
            Contestant("Switchboard, modern", f"switchboard-{of}"),
            Contestant("Switchboard, handshake", f"switchboard-{of}", modern=False),
            *(
                Contestant(peer, f"{name}-of-{of}", modern=False, sessions=SESSIONS_OF_BRIDGES)
                for peer, name in zip(peers, servers, strict=True)
            ),
        ),
        command,
    )


ROWS: Final[dict[str, Row]] = {
    "modern": _both(
        "modern `tools/call`, plain tool",
        echo,
        modern=True,
        more=(Contestant("FastMCP", "fastmcp"),),
    ),
    "context": _both("modern `tools/call`, a tool that takes a context", whoami, modern=True),
    "progress": Row(
        f"modern `tools/call`, a tool that reports progress ({STEPS} times)",
        (Contestant("Switchboard", "switchboard", steps), Contestant("SDK, SSE", "sdk-sse", steps)),
        without={"SDK, JSON": "sends no progress"},
    ),
    "handshake": _both(
        "handshake `tools/call`",
        echo,
        modern=False,
        sse=True,
        more=(
            Contestant("FastMCP", "fastmcp", modern=False),
            Contestant("server-everything (Node)", "server-everything", modern=False),
        ),
    ),
    "list-modern": _both("`tools/list`, a page of 20, modern", page, modern=True),
    "list-handshake": _both("`tools/list`, a page of 20, handshake", page, modern=False),
    "http-modern": Row(
        "hop to an HTTP backend, modern",
        (
            Contestant("the backend itself", "small"),
            Contestant("Switchboard", "switchboard-web"),
            Contestant("FastMCP proxy", "fastmcp-web"),
        ),
        without={"ContextForge": "does not speak 2026-07-28"},
    ),
    "http-handshake": Row(
        "hop to an HTTP backend, handshake",
        (
            Contestant("the backend itself", "small", modern=False),
            Contestant("Switchboard", "switchboard-web", modern=False),
            Contestant("FastMCP proxy", "fastmcp-web", modern=False),
            Contestant("ContextForge", "contextforge", modern=False),
        ),
    ),
    "stdio": _hop("hop to a stdio backend, a server of the SDK", "sdk", SDK_CHILD),
    "stdio-small": _hop("hop to a stdio backend, the smallest one", "small", SMALL),
    "refusals": Row(
        "refusals",
        (
            Contestant("401, a guessed token", "switchboard", guessed),
            Contestant("401, no token", "switchboard", nameless),
            Contestant("404, an unknown session", "switchboard", unknown),
            Contestant("429, over the limit", "switchboard-limited", limited),
            Contestant("404 of the SDK", "sdk-json", unknown),
        ),
    ),
}
