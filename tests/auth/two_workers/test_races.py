"""Many at once, through two processes: what the scripts in Redis promise, seen from outside."""

from __future__ import annotations

from tools.fleet.redemptions import run
from tools.fleet.workers import Fleet


async def test_a_code_has_one_winner_and_a_refresh_token_one_successor(fleet: Fleet) -> None:
    """AUTH rows 15 and 30; `make races` does it for a hundred rounds."""
    tally = await run(fleet, rounds=5, at_once=50)

    assert tally.violations == []
    assert (tally.rounds, tally.redemptions, tally.refreshes) == (5, 250, 250)
