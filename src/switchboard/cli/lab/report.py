"""What is told of a run: as a table, as JSON, and as JUnit's XML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table
from rich.text import Text

from switchboard.cli.exit_codes import DONE, FAILED
from switchboard.cli.lab.driving import Ended, told
from switchboard.common.visible_text import escaped

LAST_LINES: Final = 20
"""Of a client's output, in a report."""

_STYLES: Final = {"passed": "green", "failed": "bold red", "crashed": "bold red"}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 §2.2 allows in no document."""


@dataclass(frozen=True)
class Report:
    """A run's document, and the ends of the clients that this process started.

    Args:
        names: the scenarios that are told of.
    """

    run: Mapping[str, Any]
    page: str
    names: Sequence[str]
    ends: Mapping[str, Ended] = field(default_factory=dict)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The scenarios that are told of, in the lab's order."""
        return [each for each in self.run["scenarios"] if each["name"] in self.names]

    @property
    def counts(self) -> Mapping[str, int]:
        """How many scenarios have which verdict."""
        return Counter(str(each["verdict"]) for each in self.rows)

    def exit_code(self, *, not_tried_passes: bool) -> int:
        """0 where every scenario passed."""
        good = {"passed", "not_tried"} if not_tried_passes else {"passed"}
        return DONE if self.rows and all(verdict in good for verdict in self.counts) else FAILED

    def document(self) -> Mapping[str, Any]:
        """As JSON."""
        return {
            "run": self.run["run"],
            "page": self.page,
            "client": self.run["client"],
            "counts": dict(self.counts),
            "scenarios": [
                {
                    **{
                        name: row[name]
                        for name in ("name", "title", "expects", "spec_version", "verdict", "rules", "ended")
                    },
                    "requests": len(row["hops"]),
                    "why": self.why(row),
                    "client": asdict(self.ends[row["name"]]) if row["name"] in self.ends else None,
                }
                for row in self.rows
            ],
        }

    def why(self, row: Mapping[str, Any]) -> str:
        """What a verdict other than passed rests on, in one line."""
        if row["verdict"] == "crashed":
            return f"the client crashed: {self.ended(row)}"
        if row["verdict"] == "failed":
            broken = next(rule for rule in row["rules"] if rule["state"] == "broken")
            at = f" (request {broken['hop']})" if broken["hop"] else ""
            return f"{broken['text']}: {broken['why']}{at}"
        if row["verdict"] == "not_tried":
            return row["rules"][0]["why"] if row["hops"] else "the client asked nothing of the lab"
        return ""

    def ended(self, row: Mapping[str, Any]) -> str:
        """How the client ended, in words; empty where nobody told."""
        if row["name"] in self.ends:
            return self.ends[row["name"]].told
        end = row["ended"]
        return "" if end is None else told(end["exit_code"], timed_out=end["timed_out"])

    def show(self) -> None:
        """The table, on standard output."""
        table = Table("scenario", "verdict", "client", "why", box=None, header_style="bold")
        for row in self.rows:
            verdict = str(row["verdict"])
            shown = Text(escaped(verdict.replace("_", " ")), _STYLES.get(verdict, "yellow"))
            table.add_row(Text(escaped(row["name"])), shown, self.ended(row), Text(escaped(self.why(row))))
        console = Console(soft_wrap=True)
        console.print(table)
        console.print(", ".join(f"{number} {verdict.replace('_', ' ')}" for verdict, number in self.counts.items()))

    def write_junit(self, file: Path) -> None:
        """A test suite with a test for each scenario."""
        rows, counts = self.rows, self.counts
        seconds = sum(end.seconds for end in self.ends.values())
        numbers = {
            "tests": str(len(rows)),
            "failures": str(counts.get("failed", 0)),
            "errors": str(counts.get("crashed", 0)),
            "skipped": str(counts.get("not_tried", 0)),
            "time": f"{seconds:.2f}",
        }
        top = ElementTree.Element("testsuites", numbers)
        name = _xml(f"authorization lab: {self.run['client'] or 'unknown client'}")
        suite = ElementTree.SubElement(top, "testsuite", {"name": name, **numbers})
        for row in rows:
            self._add(suite, row)
        ElementTree.ElementTree(top).write(file, encoding="utf-8", xml_declaration=True)

    def _add(self, suite: ElementTree.Element, row: Mapping[str, Any]) -> None:
        end = self.ends.get(row["name"])
        said = {"classname": "lab", "name": _xml(row["name"]), "time": f"{end.seconds if end else 0:.2f}"}
        case = ElementTree.SubElement(suite, "testcase", said)
        kind = {"failed": "failure", "crashed": "error", "not_tried": "skipped"}.get(row["verdict"])
        if kind is not None:
            why = {"message": _xml(self.why(row))}
            found = ElementTree.SubElement(case, kind, why if kind == "skipped" else {**why, "type": row["verdict"]})
            found.text = _xml(f"{self.page}#{row['name']}")
        if end is not None and end.output:
            text = "\n".join([end.told, *end.output.splitlines()[-LAST_LINES:]])
            ElementTree.SubElement(case, "system-out").text = _xml(text)


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
