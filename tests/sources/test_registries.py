"""One real package of each registry, by the registry's ordinary client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from switchboard.config import ServerSection
from switchboard.sources import SourceContext, SourceFailure, prepare

pytestmark = pytest.mark.registry

NOWHERE = "http://127.0.0.1:9/"


def cut_off(context: SourceContext) -> SourceContext:
    """The same context without a way to a registry."""
    no_way = {
        "npm_config_registry": NOWHERE,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
        "npm_config_fetch_retries": "0",
    }
    kept = {key: value for key, value in context.environment.items() if not key.upper().startswith("NPM_CONFIG_REG")}
    return replace(context, environment={**kept, **no_way})


@pytest.mark.parametrize(
    ("row", "pinned", "tool"),
    [
        (
            {"source": "npm", "package": "@modelcontextprotocol/server-sequential-thinking"},
            "@modelcontextprotocol/server-sequential-thinking 20",
            "sequentialthinking",
        ),
        (
            {"source": "pypi", "package": "mcp-server-time", "args": ["--local-timezone", "UTC"]},
            "mcp-server-time 20",
            "get_current_time",
        ),
    ],
)
async def test_a_package_is_installed_with_visible_progress_pinned_and_works_again_offline(
    heard: Any, section: Callable[..., ServerSection], tools_of: Any, row: dict[str, Any], pinned: str, tool: str
) -> None:
    launch = await prepare("real", section(**row), heard.context)
    assert launch.pinned.startswith(pinned)
    assert heard.lines[0].startswith(f"real: installing {row['package']}")
    assert heard.lines[-1] == f"real: installed {launch.pinned}"
    heard.lines.clear()
    again = await prepare("real", section(**row), cut_off(heard.context))
    assert again == launch
    assert heard.lines == []
    assert tool in await tools_of(again)


@pytest.mark.parametrize(("source", "says"), [("npm", "npm install"), ("pypi", "pip")])
async def test_a_registry_that_cannot_be_reached_is_a_reason_not_a_hang(
    heard: Any, section: Callable[..., ServerSection], source: str, says: str
) -> None:
    with pytest.raises(SourceFailure, match=says):
        await prepare(
            "real", section(source=source, package="mcp-server-time", version="0.0.1"), cut_off(heard.context)
        )
