from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import read
from switchboard.config.editing import KEPT, backups, edit
from switchboard.errors import ConfigurationError

WriteFile = Callable[[str, str], Path]


def adding(name: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document.setdefault("mcpServers", {})[name] = {"command": "x", "env": {"K": "${KEY}"}}

    return change


@pytest.mark.parametrize("name", ["c.yaml", "c.json"])
def test_an_edit_keeps_a_backup_and_what_was_written(write: WriteFile, name: str) -> None:
    path = write(name, '{"separator": ".", "mcpServers": {"a": {"url": "${URL:-https://a}"}}}')
    before = path.read_text()
    backup = edit(path, adding("b"), {"KEY": "v"})
    assert backup is not None
    assert backup.read_text() == before
    assert "${KEY}" in path.read_text()
    assert "${URL:-https://a}" in path.read_text()
    found = read(path, {"KEY": "v"})
    assert (list(found.servers), found.separator) == (["a", "b"], ".")


def test_a_file_that_was_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.yaml"
    assert edit(path, adding("a"), {"KEY": "v"}) is None
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(read(path, {"KEY": "v"}).servers) == ["a"]


def test_an_edit_that_would_break_the_file_changes_nothing(write: WriteFile) -> None:
    path = write("c.json", '{"separator": "."}')
    with pytest.raises(ConfigurationError, match=r"mcpServers\.b"):
        edit(path, lambda document: document.update(mcpServers={"b": {}}), {})
    assert path.read_text() == '{"separator": "."}'
    assert backups(path) == []


def test_a_backup_is_as_private_as_the_file_and_the_newest_few_are_kept(write: WriteFile) -> None:
    path = write("c.json", "{}")
    path.chmod(0o600)
    for number in range(KEPT + 3):
        edit(path, adding(f"s{number}"), {"KEY": "v"})
    kept = backups(path)
    assert len(kept) == KEPT
    assert f"s{KEPT + 1}" in kept[0].read_text()
    assert {stat.S_IMODE(each.stat().st_mode) for each in [path, *kept]} == {0o600}


def test_a_link_stays_a_link(write: WriteFile, tmp_path: Path) -> None:
    target, link = write("real.json", "{}"), tmp_path / "c.json"
    link.symlink_to(target)
    edit(link, adding("a"), {"KEY": "v"})
    assert link.is_symlink()
    assert list(read(target, {"KEY": "v"}).servers) == ["a"]


def test_toml_is_left_to_its_author(write: WriteFile) -> None:
    with pytest.raises(ConfigurationError, match="edit it by hand"):
        edit(write("c.toml", ""), adding("a"), {})
