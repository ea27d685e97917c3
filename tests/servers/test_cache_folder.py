"""A folder for installed servers that cannot be written, or is full, is said by `/readyz` and by what workers tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from switchboard.sources import cache_health, unusable
from switchboard.worker_control import ask


def test_a_folder_that_cannot_be_written_is_said_with_what_to_set(tmp_path: Path) -> None:
    assert unusable(tmp_path / "new") == ""
    file = tmp_path / "file"
    file.touch()
    assert "CACHE_DIR" in unusable(file / "below")


def test_a_folder_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_health, "LEAST_FREE", 1 << 60)
    assert "too little" in unusable(tmp_path)


async def test_readyz_and_what_a_worker_tells_say_that_servers_cannot_be_installed(
    setup: Any, redis_url: str, tmp_path: Path, until: Any
) -> None:
    file = tmp_path / "file"
    file.touch()
    setup.write({"a": setup.server("a")})
    url = await setup.start(redis_url=redis_url, cache_dir=file / "below")
    state = setup.apps[0].rooms.state
    async with httpx2.AsyncClient(timeout=60) as http:

        async def warned() -> bool:
            said = (await http.get(url.replace("/mcp", "/readyz"))).json()["warnings"]
            return any("Servers cannot be installed" in warning for warning in said)

        assert not await warned(), "nothing has to be installed"
        setup.write({"a": setup.server("a"), "b": {"source": "pypi", "package": "no-such-package", "version": "1"}})
        await until(warned)
    [answer] = await ask(state)
    assert "CACHE_DIR" in answer["cache"]
