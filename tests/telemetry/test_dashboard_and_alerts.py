"""What is delivered for Grafana and Prometheus asks for metrics, labels and label values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from switchboard.telemetry.metrics import TABLE

ROOT = Path(__file__).parents[2]
DASHBOARD: Mapping[str, Any] = json.loads((ROOT / "deploy/grafana/switchboard.json").read_text())
ALERTS: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy/alerts/switchboard.yaml").read_text())
FROM_SCRAPING = {"instance", "job"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
TOLD = {name + suffix: row for name, row in TABLE.items() for suffix in SUFFIXES[row.kind]}


def rules() -> Iterator[Mapping[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def targets() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


QUERIES = [*targets(), *(rule["expr"] for rule in rules())]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_metrics_and_labels_that_there_are(query: str) -> None:
    asked = re.findall(r"\b(switchboard_\w+)(?:\{([^}]*)\})?", query)
    assert asked
    labels: set[str] = set()
    for name, selectors in asked:
        assert name in TOLD, name
        labels |= {*TOLD[name].labels, "le"} | FROM_SCRAPING
        assert set(re.findall(r"(\w+)\s*[!=]", selectors)) <= labels
    for listed in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", query):
        assert {each.strip() for each in listed.split(",")} <= labels
    assert query.count("(") == query.count(")")
    assert query.count("{") == query.count("}")


def test_every_metric_is_on_the_dashboard() -> None:
    assert [name for name in TABLE if not any(name in query for query in targets())] == []


def test_panels_have_names_of_their_own_and_do_not_lie_on_one_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    titles = [panel["title"] for panel in DASHBOARD["panels"]]
    assert len(set(titles)) == len(titles)


def test_alerts_have_a_severity_and_say_what_to_do() -> None:
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning", "info"}
    for group in ALERTS["groups"]:
        assert {rule["labels"]["severity"] for rule in group["rules"]} == {group["name"].rpartition("-")[2]}
    for rule in rules():
        assert rule["annotations"].keys() == {"summary", "description"}
        assert re.fullmatch(r"Switchboard\w+", rule["alert"])
        assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_the_page_tells_of_every_metric() -> None:
    page = (ROOT / "docs/telemetry.md").read_text()
    rows = dict(re.findall(r"^\| `(switchboard_\w+)` \| ([^|]*)\|", page, re.MULTILINE))
    told = {name + ("_total" if row.kind == "counter" else ""): row.labels for name, row in TABLE.items()}
    assert {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows.items()} == told


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_is_written_as_prometheus_reads_it(query: str) -> None:
    promql_parser.parse(query.replace("$__rate_interval", "5m"))


def test_the_grammar_refuses_what_is_no_query() -> None:
    with pytest.raises(ValueError, match=r"."):
        promql_parser.parse("sum by (job (rate(switchboard_requests_total[5m])))")
