from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

from switchboard.config import PluginSection
from switchboard.errors import ConfigurationError
from switchboard.plugins import load

Install = Callable[[str, str], None]

GOOD = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

def make(config):
    return Plugin("good", config.get("version", "1"), MCPServer("good"))
"""
MIDDLEWARE = """
from mcp.server.mcpserver import MCPServer
from switchboard.plugins import Plugin

async def guard(ctx, call_next):
    return await call_next(ctx)

def make(config):
    return Plugin("guarded", "1", MCPServer("guarded", middleware=[guard]))
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`install(name, code)` puts a distribution with one plugin on the path, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installing(name: str, code: str) -> None:
        module = f"plugin_{name}_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[switchboard.plugins]\n{name} = {module}:make\n")
        importlib.invalidate_caches()

    return installing


def test_an_enabled_plugin_is_made_with_its_configuration(install: Install) -> None:
    install("good", GOOD)
    (provider,) = load({"good": PluginSection(config={"version": "7"})})
    assert (provider.name, provider.version) == ("good", "7")


def test_a_plugin_that_is_not_enabled_is_not_even_imported(install: Install) -> None:
    install("broken", "raise RuntimeError('imported')")
    assert load({"broken": PluginSection(enabled=False)}) == ()


def test_plugins_come_in_the_order_of_the_configuration(install: Install) -> None:
    install("good", GOOD)
    install("better", GOOD.replace('"good"', '"better"'))
    sections = {"good": PluginSection(), "better": PluginSection()}
    assert [provider.name for provider in load(sections)] == ["good", "better"]
    assert [provider.name for provider in load(dict(reversed(sections.items())))] == ["better", "good"]


def test_an_unknown_plugin_is_named_with_those_that_are_installed(install: Install) -> None:
    install("good", GOOD)
    with pytest.raises(ConfigurationError, match=r"plugins\.nope: no such plugin.*everything.*good"):
        load({"nope": PluginSection()})


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("raise RuntimeError('no import')", "RuntimeError: no import"),
        ("def make(config):\n    raise KeyError('token')", "KeyError: 'token'"),
        ("def make(config):\n    return 3", "returned int, not a Plugin"),
        (GOOD, "calls itself 'good'"),
        ("", "has no attribute 'make'"),
        (MIDDLEWARE, "brings middleware \\(function\\)"),
    ],
)
def test_a_plugin_that_cannot_be_mounted_is_named_with_the_reason(install: Install, code: str, complaint: str) -> None:
    install("guarded", code)
    with pytest.raises(ConfigurationError, match=rf"plugins\.guarded: .*{complaint}"):
        load({"guarded": PluginSection()})
