from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import ServerSection
from switchboard.sources import SourceFailure, prepare

Section = Callable[..., ServerSection]


async def test_a_local_python_project_is_installed_once_and_changes_of_its_code_count(
    heard: Any, section: Section, tools_of: Any, python_project: Path
) -> None:
    launch = await prepare("tiny", section(source="local", path="python-project"), heard.context)
    assert await tools_of(launch) == ["python_tool"]
    assert any("installing python-project" in line for line in heard.lines)
    assert launch.cwd == python_project
    heard.lines.clear()
    code = python_project / "tiny_server.py"
    code.write_text(code.read_text().replace('["python_tool"]', '["changed"]'))
    again = await prepare("tiny", section(source="local", path="python-project"), heard.context)
    assert await tools_of(again) == ["changed"]
    own = await prepare("tiny", section(source="local", path="python-project", command="tiny_server.py"), heard.context)
    assert own.args == (str(code),)
    assert await tools_of(own) == ["changed"]
    with pytest.raises(SourceFailure, match="has no program 'other'; it has: tiny-server"):
        await prepare("tiny", section(source="local", path="python-project", bin="other"), heard.context)
    assert heard.lines == []


async def test_a_changed_manifest_installs_anew(heard: Any, section: Section, node_project: Path) -> None:
    described = section(source="local", path=str(node_project))
    await prepare("tiny", described, heard.context)
    heard.lines.clear()
    await prepare("tiny", described, heard.context)
    assert heard.lines == []
    (node_project / "package.json").write_text('{"name": "tiny-node", "version": "5.0.0", "bin": "server.js"}')
    await prepare("tiny", described, heard.context)
    assert heard.lines[0] == "tiny: installing what node-project needs from npm"


async def test_a_local_node_project_is_installed_and_speaks(
    heard: Any, section: Section, tools_of: Any, node_project: Path
) -> None:
    launch = await prepare("tiny", section(source="local", path=str(node_project)), heard.context)
    assert launch.command == "node"
    assert await tools_of(launch) == ["node_tool"]


async def test_a_node_project_is_built_when_its_program_is_not_there(
    heard: Any, section: Section, tools_of: Any, node_project: Path
) -> None:
    (node_project / "package.json").write_text(
        '{"name": "t", "version": "1.0.0", "bin": "out.js", "scripts": {"build": "cp server.js out.js"}}'
    )
    launch = await prepare("tiny", section(source="local", path=str(node_project)), heard.context)
    assert await tools_of(launch) == ["node_tool"]


@pytest.mark.parametrize("name", ["server.py", "server.mjs"])
async def test_a_local_file_is_started_by_what_it_is(
    heard: Any, section: Section, tools_of: Any, python_project: Path, node_project: Path, tmp_path: Path, name: str
) -> None:
    text = (python_project / "tiny_server.py" if name.endswith("py") else node_project / "server.js").read_text()
    (tmp_path / name).write_text(text)
    found = await tools_of(await prepare("tiny", section(source="local", path=name), heard.context))
    assert found in (["python_tool"], ["node_tool"])


@pytest.mark.parametrize("at", ["main", "v1", "commit", "short"])
async def test_a_repository_is_checked_out_at_a_branch_a_tag_or_a_commit(
    heard: Any, section: Section, tools_of: Any, node_project: Path, repository: Callable[..., str], at: str
) -> None:
    commit = repository("rev-parse", "HEAD")
    repository("tag", "v1")
    code = node_project / "server.js"
    code.write_text(code.read_text().replace("node_tool", "later"))
    repository("commit", "--quiet", "-am", "Two")
    where = {"main": ("branch", "main"), "v1": ("tag", "v1"), "commit": ("commit", commit)}
    stated = dict([where.get(at, ("commit", commit[:8]))])
    launch = await prepare("g", section(source="git", repository=str(node_project), **stated), heard.context)
    assert await tools_of(launch) == (["later"] if at == "main" else ["node_tool"])
    assert launch.pinned == f"commit {repository('rev-parse', 'main' if at == 'main' else 'v1')}"


async def test_a_repository_stays_at_its_commit_and_works_when_it_is_gone(
    heard: Any, section: Section, tools_of: Any, node_project: Path, repository: Callable[..., str], tmp_path: Path
) -> None:
    described = section(source="git", repository=str(node_project))
    first = await prepare("g", described, heard.context)
    os.rename(node_project, tmp_path / "moved")
    heard.lines.clear()
    again = await prepare("g", described, heard.context)
    assert again == first
    assert heard.lines == []
    assert await tools_of(again) == ["node_tool"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"repository": "ext::sh -c x"}, "should match pattern"),
        ({"repository": "ext::sh"}, "ext:// is not an address"),
        ({"repository": "http://example.org/r"}, "can be changed on the way"),
        ({"repository": "https://u:p@example.org/r"}, "has a password"),
        ({"repository": "gone"}, "git"),
        ({"repository": "node-project", "branch": "gone"}, "couldn't find remote ref"),
        ({"repository": "node-project", "path": "../.."}, "leads out of the repository"),
        ({"repository": "node-project", "path": "gone"}, "has no folder gone"),
    ],
)
async def test_what_is_wrong_with_a_repository_is_said(
    heard: Any, section: Section, repository: Callable[..., str], row: dict[str, Any], reason: str
) -> None:
    with pytest.raises((SourceFailure, ValueError)) as caught:
        await prepare("g", section(source="git", **row), heard.context)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"path": "gone"}, "gone is not there"),
        ({"path": "."}, "neither pyproject.toml, requirements.txt, package.json is there"),
        ({"path": "node-project", "bin": "other"}, "has no program 'other'; it has: tiny-node"),
        ({"path": "node-project/package.json"}, "neither a Python or Node program nor executable"),
    ],
)
async def test_what_is_wrong_with_a_folder_is_said(
    heard: Any, section: Section, node_project: Path, row: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SourceFailure) as caught:
        await prepare("l", section(source="local", **row), heard.context)
    assert str(caught.value).startswith("l: ")
    assert reason in str(caught.value)
