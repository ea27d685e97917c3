"""One code, and one refresh token, redeemed by many at once through two worker processes, round after round.

    python -m tools.fleet.redemptions --rounds 100 --at-once 50

What must hold in each round: a code gives tokens to exactly one, and because the others replayed it, these tokens are
dead on every worker afterwards (RFC 6749 §4.1.2); a refresh token is rotated once, and everybody who asks within the
grace gets the same successor, which works. Ends with 1 when it does not hold.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2

from tools.fleet.children import LOOPBACK
from tools.fleet.person import Person
from tools.fleet.workers import Fleet, running_fleet

CALLBACK = "http://127.0.0.1:53683/callback"
"""Never listened on: the redirect that carries the code is read, not followed."""

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "race", "version": "1"}},
}


@dataclass
class Tally:
    """What was seen."""

    rounds: int = 0
    redemptions: int = 0
    refreshes: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """Each token request's."""

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a violation of this round unless it holds."""
        if not holds:
            self.violations.append(f"round {self.rounds}: {otherwise}")

    def figures(self) -> str:
        """In a line."""
        ordered = sorted(self.seconds)
        return (
            f"{self.rounds} rounds: {self.redemptions} redemptions of {self.rounds} codes, {self.refreshes} uses of "
            f"{self.rounds} refresh tokens, {len(self.violations)} violations; a token request took "
            f"{statistics.median(ordered) * 1000:.0f} ms (median), {ordered[-1] * 1000:.0f} ms (longest)"
        )


@dataclass(frozen=True)
class Race:
    """A client that asks every worker at the same time."""

    base: str
    workers: Sequence[httpx2.AsyncClient]
    client_id: str
    at_once: int
    tally: Tally

    async def round(self, person: Person) -> None:
        """One code and one refresh token."""
        self.tally.rounds += 1
        await self._redeem(person)
        await self._refresh(person)

    async def _redeem(self, person: Person) -> None:
        answers = await self._all(await self._code(person))
        self.tally.redemptions += len(answers)
        good, refused = _split(answers)
        self.tally.expect(len(good) == 1, f"{len(good)} redemptions of one code succeeded")
        wrong = [answer for answer in refused if _error(answer) != "invalid_grant"]
        self.tally.expect(not wrong, f"{len(wrong)} were refused with something else: {[w.text for w in wrong[:2]]}")
        for answer in good:
            await self._expect_dead(answer.json())

    async def _expect_dead(self, tokens: dict[str, Any]) -> None:
        for number, worker in enumerate(self.workers):
            status = (await self._call(worker, tokens)).status_code
            self.tally.expect(status == 401, f"worker {number} answered {status} to a token of the replayed code")
        again = await self._post(self.workers[0], _refreshing(tokens))
        self.tally.expect(_error(again) == "invalid_grant", "the refresh token of a replayed code still works")

    async def _refresh(self, person: Person) -> None:
        tokens = (await self._post(self.workers[0], await self._code(person))).json()
        answers = await self._all(_refreshing(tokens))
        self.tally.refreshes += len(answers)
        good, refused = _split(answers)
        self.tally.expect(not refused, f"{len(refused)} of {len(answers)} refreshes within the grace were refused")
        successors = {(answer.json()["refresh_token"], answer.json()["access_token"]) for answer in good}
        self.tally.expect(len(successors) == 1, f"{len(successors)} successors of one refresh token")
        for worker in self.workers:
            status = (await self._call(worker, good[0].json())).status_code if good else 0
            self.tally.expect(status == 200, f"the successor's access token was answered {status}")
        if good:
            again = await self._post(self.workers[-1], _refreshing(good[0].json()))
            self.tally.expect(again.status_code == 200, "the successor cannot be refreshed")

    async def _code(self, person: Person) -> dict[str, str]:
        """What redeems a fresh code."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": CALLBACK,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "resource": f"{self.base}/mcp",
        }
        code = await person.code(f"{self.base}/authorize?{urlencode(asked)}")
        return {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}

    async def _all(self, sent: dict[str, str]) -> list[httpx2.Response]:
        """The same request `at_once` times, to each worker in turn, none waiting for another."""
        asked = (self._post(self.workers[number % len(self.workers)], sent) for number in range(self.at_once))
        return list(await asyncio.gather(*asked))

    async def _post(self, worker: httpx2.AsyncClient, sent: dict[str, str]) -> httpx2.Response:
        started = time.perf_counter()
        answer = await worker.post("/token", data=sent | {"client_id": self.client_id})
        self.tally.seconds.append(time.perf_counter() - started)
        return answer

    async def _call(self, worker: httpx2.AsyncClient, tokens: dict[str, Any]) -> httpx2.Response:
        headers = {
            "Authorization": f"Bearer {tokens['access_token']}",
            "Accept": "application/json, text/event-stream",
        }
        return await worker.post("/mcp", json=INITIALIZE, headers=headers)


def _refreshing(tokens: dict[str, Any]) -> dict[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}


def _split(answers: Sequence[httpx2.Response]) -> tuple[list[httpx2.Response], list[httpx2.Response]]:
    good = [answer for answer in answers if answer.status_code == 200]
    return good, [answer for answer in answers if answer.status_code != 200]


def _error(answer: httpx2.Response) -> str:
    return str(answer.json().get("error", "")) if answer.status_code == 400 else f"status {answer.status_code}"


@asynccontextmanager
async def racing(fleet: Fleet, at_once: int) -> AsyncIterator[Race]:
    """A race against the workers of a fleet, each reached past the load balancer."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                httpx2.AsyncClient(base_url=f"http://{LOOPBACK}:{port}", timeout=60, trust_env=False)
            )
            for port in fleet.ports
        ]
        metadata = {
            "client_name": "race",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }
        client = (await workers[0].post("/register", json=metadata)).raise_for_status().json()
        yield Race(fleet.base, workers, client["client_id"], at_once, Tally())


async def run(fleet: Fleet, rounds: int, at_once: int) -> Tally:
    """That many rounds."""
    async with racing(fleet, at_once) as race, Person() as person:
        for _ in range(rounds):
            await race.round(person)
        return race.tally


def main() -> None:
    """Start two workers, race, print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.fleet.redemptions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=50)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="switchboard-") as folder, running_fleet(Path(folder)) as fleet:
        tally = asyncio.run(run(fleet, chosen.rounds, chosen.at_once))
    print("\n".join([tally.figures(), *tally.violations[:20]]))
    sys.exit(bool(tally.violations))


if __name__ == "__main__":
    main()
