"""Keys change, issuers go away and come back, while people work: nobody valid is refused, nobody else gets in."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tools.fleet.children import LOOPBACK, Child, free_port
from tools.fleet.redis_server import RedisServer
from tools.fleet.tokens import PublicClient
from tools.fleet.workers import Fleet, running_fleet, start_auth_server, start_worker
from tools.messages import ACCEPT, INITIALIZE

FORGED = "sba_" + "A" * 65
UNAVAILABLE = 503


async def call(http: httpx2.AsyncClient, url: str, token: str) -> httpx2.Response:
    """A request that needs a token; `initialize` is the one that needs nothing else."""
    return await http.post(url, json=INITIALIZE, headers={**ACCEPT, "Authorization": f"Bearer {token}"})


@dataclass
class Traffic:
    """What callers with good and bad tokens were answered, one call after the other."""

    good: Counter[int] = field(default_factory=Counter)
    bad: Counter[int] = field(default_factory=Counter)

    @asynccontextmanager
    async def flowing(self, http: httpx2.AsyncClient, url: str, good: str, bad: str) -> AsyncIterator[None]:
        """Both kinds of calls, as long as the block runs."""

        async def caller(token: str, answers: Counter[int]) -> None:
            while True:
                try:
                    answers[(await call(http, url, token)).status_code] += 1
                except httpx2.TransportError:
                    answers[UNAVAILABLE] += 1  # a worker that was just stopped
                await asyncio.sleep(0.02)

        async with asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(caller(good, self.good)), tasks.create_task(caller(bad, self.bad))]
            yield
            for task in callers:
                task.cancel()


def restarted(fleet: Fleet, index: int, env: Mapping[str, str]) -> None:
    """One worker leaves as it should, and comes back with other settings."""
    fleet.workers[index].stop()
    fleet.workers[index] = start_worker(fleet.folder, fleet.ports[index], {**fleet.env, **env})


async def test_a_rotation_of_secret_key_through_the_fleet_refuses_nobody_and_lets_nobody_in(tmp_path: Path) -> None:
    """`OLD,NEW` → `NEW,OLD`, a worker at a time, as auth_server/README.md has it; the step before adds reading only."""
    traffic, old, new = Traffic(), secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    with running_fleet(tmp_path, env={"SECRET_KEY": f"{old},{new}"}) as fleet:
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            client = await PublicClient.registered(http, fleet.base, fleet.url)
            early, revoked = await client.sign_in(), await client.sign_in("bob")
            await http.post(f"{fleet.base}/revoke", data={"token": revoked["access_token"], "client_id": client.id})
            async with traffic.flowing(http, fleet.url, early["access_token"], revoked["access_token"]):
                for index in range(len(fleet.workers)):
                    await asyncio.to_thread(restarted, fleet, index, {"SECRET_KEY": f"{new},{old}"})
                    made = await client.sign_in("carol")
                    for port in fleet.ports:
                        url = f"http://{LOOPBACK}:{port}/mcp"
                        assert (await call(http, url, made["access_token"])).status_code == 200
            assert (await client.refresh(early)).status_code == 200

    assert set(traffic.good) <= {200, 502, UNAVAILABLE}
    assert set(traffic.bad) <= {401, 502, UNAVAILABLE}
    assert traffic.good[200] > 20
    assert traffic.bad[401] > 20


@dataclass(frozen=True)
class Apart:
    """An issuer of JWTs, and two servers that take its tokens: one looks at signatures, one asks."""

    issuer: str
    by_keys: str
    by_asking: str
    env: Mapping[str, str]
    folder: Path
    auth: list[Child]

    def stop(self) -> None:
        """The issuer is away, from one moment to the next."""
        self.auth[0].kill()

    def start(self) -> None:
        """It is back, with what it kept in Redis."""
        self.auth[0] = start_auth_server(self.folder, int(self.env["AUTH_SERVER_PORT"]), self.env)


def started(stack: ExitStack, folder: Path, redis_url: str) -> Apart:
    """Three processes."""
    ports = free_port(), free_port(), free_port()
    issuer, base = f"http://localhost:{ports[0]}", f"http://localhost:{ports[1]}"
    env = {
        "AUTH_MODE": "separate",
        "AUTH_SERVER_URL": issuer,
        "AUTH_SERVER_PORT": str(ports[0]),
        "BASE_URI": base,
        "SECRET_KEY": secrets.token_urlsafe(32),
        "ACCESS_TOKENS": "jwt",
        "LOG_LEVEL": "debug",
        "LOG_FORMAT": "json",
    }
    auth = [start_auth_server(folder, ports[0], env | {"REDIS_URL": redis_url})]
    stack.callback(lambda: auth[0].stop())
    for port, validation in ((ports[1], "jwt"), (ports[2], "introspection")):
        stack.callback(start_worker(folder, port, env | {"TOKEN_VALIDATION": validation}).stop)
    by_keys, by_asking = (f"http://{LOOPBACK}:{port}/mcp" for port in ports[1:])
    return Apart(issuer, by_keys, by_asking, env | {"REDIS_URL": redis_url}, folder, auth)


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory, start_private_redis: Callable[..., RedisServer]) -> Iterator[Apart]:
    with ExitStack() as stack:
        yield started(stack, tmp_path_factory.mktemp("apart"), start_private_redis().url)


def without_signature(token: str) -> str:
    """The same claims, signed by nobody."""
    return token.rsplit(".", 1)[0] + "." + "A" * 86


async def test_a_rotation_of_the_signing_keys_is_noticed_by_nobody(apart: Apart) -> None:
    """AUTH row 26: the new key is published first, so that no verifier meets a token before its key."""
    traffic = Traffic()
    command = [sys.executable, "-m", "auth_server", "signing-keys", "rotate"]
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        client = await PublicClient.registered(http, apart.issuer, f"{apart.env['BASE_URI']}/mcp")
        known = (await client.sign_in())["access_token"]
        async with traffic.flowing(http, apart.by_keys, known, without_signature(known)):
            process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **apart.env}, cwd=apart.folder)
            assert await process.wait() == 0
            keys: list[Any] = (await http.get(f"{apart.issuer}/jwks")).json()["keys"]
            for user in ("bob", "carol"):
                token = (await client.sign_in(user))["access_token"]
                for url in (apart.by_keys, apart.by_asking):
                    assert (await call(http, url, token)).status_code == 200

    assert len(keys) == 2
    assert (set(traffic.good), set(traffic.bad)) == ({200}, {401})


async def test_an_issuer_that_is_away_costs_nobody_their_access_and_gives_nobody_any(apart: Apart) -> None:
    """AUTH row 6."""
    by_keys, by_asking = Traffic(), Traffic()
    async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        client = await PublicClient.registered(http, apart.issuer, f"{apart.env['BASE_URI']}/mcp")
        known, fresh = (await client.sign_in())["access_token"], (await client.sign_in("bob"))["access_token"]
        bad = without_signature(known)
        for url in (apart.by_keys, apart.by_asking):
            assert (await call(http, url, known)).status_code == 200
        async with (
            by_keys.flowing(http, apart.by_keys, known, bad),
            by_asking.flowing(http, apart.by_asking, known, FORGED),
        ):
            await asyncio.to_thread(apart.stop)
            away = {
                "keys, known": await call(http, apart.by_keys, known),
                "keys, fresh": await call(http, apart.by_keys, fresh),
                "keys, forged": await call(http, apart.by_keys, bad),
                "asking, known": await call(http, apart.by_asking, known),
                "asking, fresh": await call(http, apart.by_asking, fresh),
                "asking, forged": await call(http, apart.by_asking, without_signature(fresh)),
            }
            await asyncio.to_thread(apart.start)
            async with asyncio.timeout(60):
                while (back := await call(http, apart.by_asking, fresh)).status_code == UNAVAILABLE:
                    await asyncio.sleep(0.2)

    assert {which: answer.status_code for which, answer in away.items()} == {
        "keys, known": 200,
        "keys, fresh": 200,
        "keys, forged": 401,
        "asking, known": 200,  # for 30 seconds at most
        "asking, fresh": UNAVAILABLE,
        "asking, forged": UNAVAILABLE,
    }
    assert int(away["asking, fresh"].headers["retry-after"]) > 0
    assert "www-authenticate" not in away["asking, fresh"].headers
    assert back.status_code == 200
    assert (set(by_keys.good), set(by_keys.bad)) == ({200}, {401})
    assert set(by_asking.good) <= {200, UNAVAILABLE}
    assert set(by_asking.bad) <= {401, UNAVAILABLE}
