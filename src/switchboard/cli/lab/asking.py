"""Asks the lab of a server: its scenarios, a new run, how a client ended, what became of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx2

from switchboard.cli.exit_codes import NoAnswer
from switchboard.cli.lab.driving import Ended
from switchboard.common.visible_text import escaped

TIMEOUT_S: Final = 30.0


class LabUnreachable(NoAnswer):
    """There is no lab at this address, or it does not answer as one."""


class LabClient:
    """The API of one lab.

    Args:
        base: of the server, without `/lab`.
    """

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")

    async def scenarios(self) -> Sequence[Mapping[str, Any]]:
        """The rows of its table."""
        found: Sequence[Mapping[str, Any]] = await self._asked("GET", "scenarios")
        return found

    async def begin(self) -> Mapping[str, Any]:
        """A new run whose issuers allow by themselves: `run`, `page`; by scenario `urls`, and what is `told`."""
        found: Mapping[str, Any] = await self._asked("POST", "runs", {"auto": True})
        return found

    async def end(self, run: str, scenario: str, ended: Ended) -> Mapping[str, Any]:
        """Tell how the client of a scenario ended; its `verdict`."""
        said = {"exit_code": ended.exit, "timed_out": ended.timed_out, "output": ended.output}
        path = f"runs/{quote(run, safe='')}/end"
        found: Mapping[str, Any] = await self._asked("POST", path, {"scenario": scenario, **said})
        return found

    async def run(self, run: str) -> Mapping[str, Any]:
        """What became of a run."""
        found: Mapping[str, Any] = await self._asked("GET", f"runs/{quote(run, safe='')}")
        return found

    async def _asked(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """A JSON document.

        Raises:
            LabUnreachable: it cannot be reached, or refuses.
        """
        address = f"{self.base}/lab/api/{path}"
        try:
            async with httpx2.AsyncClient(timeout=TIMEOUT_S) as client:
                answer = await client.request(method, address, json=body)
            document = answer.json()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise LabUnreachable(f"{address} cannot be reached: {error}") from error
        except ValueError:
            raise LabUnreachable(
                f"{address} answered {answer.status_code}, and no JSON: does this server run with LAB=on?"
            ) from None
        if not answer.is_success:
            detail = document.get("detail") if isinstance(document, dict) else None
            raise LabUnreachable(f"{address} answered {answer.status_code}: {escaped(str(detail))}")
        return document
