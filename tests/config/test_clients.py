"""Files of other programs, as their documentation shows them: each is taken over, row by row, into what runs here.

The table in docs/migrating.md is made of these files: `WRITE_CLIENTS=1 pytest tests/config/test_clients.py` writes it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from switchboard.config import Configuration
from switchboard.config.expansion import expanded
from switchboard.config.formats import parsed
from switchboard.config.importing.files import Imported, imported
from tests.config.clients import CLIENTS, Client

PAGE = Path(__file__).parents[2] / "docs" / "migrating.md"
BEGIN, END = "<!-- clients: written by tests/config/test_clients.py -->", "<!-- end of clients -->"


def placed(client: Client, folder: Path) -> Imported:
    path = folder / client.file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(client.text, encoding="utf-8")
    return imported(parsed(path), path)


def in_folder(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return value.replace("{folder}", str(folder)).replace("{name}", folder.name)
    if isinstance(value, dict):
        return {key: in_folder(member, folder) for key, member in value.items()}
    return [in_folder(member, folder) for member in value] if isinstance(value, list) else value


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_each_programs_file_is_taken_over_row_by_row(client: Client, tmp_path: Path) -> None:
    found = placed(client, tmp_path)
    assert found.servers == in_folder(client.servers, tmp_path)
    assert found.left_out == client.left_out
    assert found.hints == client.hints


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_was_taken_over_is_a_valid_configuration_once_its_variables_are_set(
    client: Client, tmp_path: Path
) -> None:
    class Variables(dict[str, str]):
        def get(self, name: str, default: object = None) -> str:
            return f"https://{name.lower()}.example" if name == "API" else "v"

    document = expanded({"mcpServers": placed(client, tmp_path).servers}, Variables())
    made = Configuration.model_validate(document)
    assert "${" not in made.model_dump_json()


def test_the_page_says_what_these_files_show() -> None:
    table = "\n".join(
        ["| program | its file | |", "|---|---|---|", *(f"| {c.name} | `{c.file}` | {c.told} |" for c in CLIENTS)]
    )
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    wanted = f"{before}{BEGIN}\n{table}\n{END}{after}"
    if os.environ.get("WRITE_CLIENTS"):
        PAGE.write_text(wanted, encoding="utf-8")
    assert page == wanted
