"""The form of CHANGELOG.md, as Keep a Changelog 1.1 has it, and its newest version beside the package's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

KINDS: Final = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
RELEASE: Final = re.compile(r"## \[(?P<version>\d+\.\d+\.\d+)\] - (?P<day>\d{4}-\d\d-\d\d)")
UNRELEASED: Final = "## [Unreleased]"


@dataclass
class Section:
    """What stands under a heading of the second level: numbered lines."""

    number: int
    heading: str
    lines: list[tuple[int, str]] = field(default_factory=list)

    @property
    def version(self) -> tuple[int, ...] | None:
        """Of a release; None where there is none."""
        release = RELEASE.fullmatch(self.heading)
        return _numbers(release["version"]) if release else None


def faults(text: str, version: str) -> list[str]:
    """What is not as it should be, most of it by line; `version` is the package's."""
    sections: list[Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            sections.append(Section(number, line))
        elif sections:
            sections[-1].lines.append((number, line))
    each = (fault for section in sections for fault in (*_in_heading(section), *_in_lines(section.lines)))
    return [*each, *_in_order(sections, version)]


def _in_heading(section: Section) -> Iterator[str]:
    release = RELEASE.fullmatch(section.heading)
    if release is None and section.heading != UNRELEASED:
        yield f"line {section.number}: neither `{UNRELEASED}` nor `## [X.Y.Z] - YYYY-MM-DD`"
    elif release is not None and not _is_day(release["day"]):
        yield f"line {section.number}: {release['day']} is no day"


def _in_lines(lines: Sequence[tuple[int, str]]) -> Iterator[str]:
    kinds: list[str] = []
    before = ""
    for number, line in lines:
        if line.startswith("### "):
            kind = line.removeprefix("### ")
            if kind not in KINDS:
                yield f"line {number}: {kind} is none of {', '.join(KINDS)}"
            if kind in kinds:
                yield f"line {number}: {kind} stands twice"
            kinds.append(kind)
        elif line.strip() and not kinds:
            yield f"line {number}: belongs to none of {', '.join(KINDS)}"
        elif line.strip() and not line.startswith(("- ", "  ")) and (before or not line.endswith(":")):
            yield f"line {number}: neither an item of a list nor, after an empty line, what begins one"
        before = line.strip()


def _in_order(sections: Sequence[Section], version: str) -> Iterator[str]:
    if [section.heading for section in sections[:1]] != [UNRELEASED]:
        yield f"the first heading is not `{UNRELEASED}`"
    versions = [section.version for section in sections if section.version is not None]
    if versions != sorted(set(versions), reverse=True):
        yield "the newest version does not come first, or one stands twice"
    if versions and versions[0] != _numbers(version):
        yield f"the newest version is not the package's, {version}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
