"""Watch a session live in Redis: its keys as they come, change and go, and what is said on its channels.

    .venv/bin/python -m tools.watch_session redis://127.0.0.1:6379/0 [SESSION_ID] [--seconds 60]

Without a session id it waits for the next session that is made. Reads only; safe beside a running fleet.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

import redis

LOOK_EVERY = 0.2
SHOWN = 110


def sessions(client: redis.Redis) -> set[str]:
    """The ids of all sessions that have a record."""
    names = (re.search(r"session:\{([^}]+)\}$", str(key)) for key in client.scan_iter("*session:{*}", count=500))
    return {found[1] for found in names if found}


def next_session(client: redis.Redis, deadline: float) -> str | None:
    """The id of the first session that was not there when we came."""
    known = sessions(client)
    print(f"{len(known)} sessions are there; waiting for the next one …", flush=True)
    while time.monotonic() < deadline:
        if new := sessions(client) - known:
            return new.pop()
        time.sleep(LOOK_EVERY)
    return None


def content(client: redis.Redis, key: str, kind: str) -> str:
    """What a key holds, short."""
    readers: dict[str, Any] = {
        "hash": lambda: {str(k): str(v) for k, v in client.hgetall(key).items()},
        "string": lambda: client.get(key),
        "set": lambda: sorted(map(str, client.smembers(key))),
        "stream": lambda: f"{client.xlen(key)} frames, the last: {client.xrevrange(key, count=1)}",
    }
    text = str(readers.get(kind, lambda: "")())
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def look(client: redis.Redis, session: str) -> dict[str, str]:
    """Everything with the session's hash tag, and the channels that somebody listens to."""
    seen = {}
    for key in map(str, client.scan_iter(f"*{{{session}}}*", count=500)):
        kind = str(client.type(key))
        seen[f"{kind:7} {key}"] = content(client, key, kind)
    for channel in map(str, client.pubsub_channels(f"*{{{session}}}*")):
        seen[f"channel {channel}"] = "somebody listens"
    return seen


def changes(before: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    """Lines for what came (+), changed (~) and went (-)."""
    for name, text in now.items():
        if name not in before:
            yield f"+ {name}  {text}"
        elif before[name] != text:
            yield f"~ {name}  {text}"
    for name in before.keys() - now.keys():
        yield f"- {name}"


def watch(client: redis.Redis, session: str, started: float, deadline: float) -> None:
    """Print what happens until the session is gone or the time is over."""
    listening = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]  # redis-py left it untyped
    listening.psubscribe(f"*{{{session}}}*")
    before: dict[str, str] = {}
    while time.monotonic() < deadline:
        now = look(client, session)
        for line in changes(before, now):
            print(f"{time.monotonic() - started:7.2f} {line}", flush=True)
        if before and not any(name.startswith("hash") for name in now):
            print(f"{time.monotonic() - started:7.2f} the session is gone", flush=True)
            return
        before = now
        while message := listening.get_message(timeout=LOOK_EVERY):
            said = message["data"] or "(look again)"
            print(f"{time.monotonic() - started:7.2f} > {message['channel']}  {said}", flush=True)


def main() -> None:
    """Read the arguments, and watch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("session", nargs="?")
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    started = time.monotonic()
    with redis.Redis.from_url(given.url, decode_responses=True) as client:
        session = given.session or next_session(client, started + given.seconds)
        if session is None:
            print("no session was made")
            return
        print(f"watching {session}", flush=True)
        watch(client, session, started, started + given.seconds)


if __name__ == "__main__":
    main()
