"""Entries of the audit log as lines for other systems: JSON lines, and CEF (Common Event Format, version 0)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Final, Literal

from switchboard.audit.reading import Entry, shown

Format = Literal["jsonl", "cef"]

_EXTENSION_NAME: Final = re.compile(r"[^A-Za-z0-9]")
_CEF_NAMES: Final[Mapping[str, str]] = {"who": "suser", "what": "cs1", "outcome": "outcome"}
"""Fields of ours that CEF has a name for; every other goes under `sb` and its own name."""


def lines(entries: list[Entry], form: Format, version: str) -> str:
    """One line for each entry, each ended by a newline.

    Args:
        version: of Switchboard, for the header of CEF.
    """
    line: Callable[[Entry], str] = json_line if form == "jsonl" else lambda entry: cef_line(entry, version)
    return "".join(f"{line(entry)}\n" for entry in entries)


def json_line(entry: Entry) -> str:
    """An entry as it is in the log, with the fields that authenticate it, so that a copy can be compared."""
    id_, fields = entry
    return json.dumps({"id": id_, **fields})


def cef_line(entry: Entry, version: str) -> str:
    """An entry as CEF: severity 3 where it went well, else 6."""
    id_, said = entry
    fields = dict(shown(said))
    event, outcome = fields.pop("event", ""), fields.get("outcome", "")
    fields.pop("at", None)
    severity = "3" if outcome in ("", "ok") else "6"
    header = "|".join(["CEF:0", "Switchboard", "Switchboard", *map(_in_header, (version, event, event)), severity])
    extension = {"rt": id_.partition("-")[0], "externalId": id_, "cs1Label": "what"}
    extension |= {_extension_name(name): value for name, value in fields.items()}
    return f"{header}|{' '.join(f'{name}={_in_extension(value)}' for name, value in extension.items())}"


def _extension_name(name: str) -> str:
    return _CEF_NAMES.get(name) or f"sb{_EXTENSION_NAME.sub('', name.title())}"


def _in_header(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("|", "\\|"), " ")


def _in_extension(text: str) -> str:
    return _one_line(text.replace("\\", "\\\\").replace("=", "\\="), "\\n")


def _one_line(text: str, instead: str) -> str:
    """Without a character that a reader takes for the end of a line."""
    return instead.join(text.splitlines()) if text else ""
