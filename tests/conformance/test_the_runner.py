"""What `make conformance` takes for a pass, and what its front changes on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tools.conformance.front import Edit
from tools.conformance.results import read
from tools.conformance.runs import RUNS
from tools.conformance.suite import nothing_is_expected_to_fail
from tools.conformance.turns import Turns

STAMP = "2026-11-21T01-57-03-823Z"


def found(out: Path, scenario: str, *statuses: str, of: str = "server") -> None:
    """Leave the results of a scenario as the suite does."""
    folder = out / f"{of}-{scenario}-{STAMP}"
    folder.mkdir()
    checks = [{"id": f"check-{n}", "status": status, "errorMessage": "why"} for n, status in enumerate(statuses)]
    (folder / "checks.json").write_text(json.dumps(checks))


def test_a_scenario_passes_when_a_check_succeeds_and_none_complains(tmp_path: Path) -> None:
    found(tmp_path, "ping", "INFO", "SUCCESS")
    found(tmp_path, "tools-list", "SKIPPED")
    outcome = read(tmp_path, ["ping", "tools-list"], complaints=0, seconds=1)
    assert outcome.good
    assert (outcome.passed, outcome.skipped) == (("ping",), ("tools-list",))


def test_the_scenarios_for_authorization_servers_are_read_too(tmp_path: Path) -> None:
    names = ["authorization-code-grant", "authorization-server-metadata-endpoint"]
    for name in names:
        found(tmp_path, name, "SUCCESS", of="authorization-server")
    assert read(tmp_path, names, complaints=0, seconds=1).passed == tuple(names)


@pytest.mark.parametrize("status", ["FAILURE", "WARNING"])
def test_a_failure_and_a_warning_weigh_the_same(tmp_path: Path, status: str) -> None:
    found(tmp_path, "ping", "SUCCESS", status)
    outcome = read(tmp_path, ["ping"], complaints=1, seconds=1)
    assert outcome.faults == (f"ping: {status} check-1: why",)
    assert outcome.passed == ()


def test_a_scenario_that_was_not_run_or_not_asked_for_is_a_fault(tmp_path: Path) -> None:
    found(tmp_path, "ping", "SUCCESS")
    outcome = read(tmp_path, ["tools-list"], complaints=0, seconds=1)
    assert outcome.faults == ("tools-list: was not run", "ping: was run, but is not listed")


def test_a_scenario_without_any_check_is_a_fault(tmp_path: Path) -> None:
    found(tmp_path, "ping")
    assert read(tmp_path, ["ping"], complaints=0, seconds=1).faults == ("ping: no check at all",)


def test_the_exit_code_of_the_suite_is_believed_when_its_files_are_silent(tmp_path: Path) -> None:
    found(tmp_path, "ping", "SUCCESS")
    assert not read(tmp_path, ["ping"], complaints=1, seconds=1).good


def test_nothing_is_expected_to_fail() -> None:
    assert nothing_is_expected_to_fail()


def test_runs_have_names_of_their_own_and_every_version_its_count() -> None:
    assert len({run.name for run in RUNS}) == len(RUNS)
    counts = {run.name: run.scenarios for run in RUNS}
    versions = ("2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28")
    assert [counts[version] for version in versions] == [1, 27, 33, 40]


@pytest.mark.parametrize(
    ("served", "even"),
    [({1: 5, 2: 5}, True), ({1: 5, 2: 4}, True), ({1: 6, 2: 4}, False), ({1: 1}, False), ({}, False)],
)
def test_turns_are_taken_when_no_worker_is_two_requests_ahead(served: dict[int, int], even: bool) -> None:
    assert Turns(Counter(served), 1.0).alternated(2) is even


HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost:1\r\nAuthorization: Basic x\r\nConnection: keep-alive\r\n\r\n"


def test_the_front_brings_the_token_and_keeps_the_host() -> None:
    lines = Edit(token="secret").head(HEAD).split(b"\r\n")
    assert b"Authorization: Bearer secret" in lines
    assert b"Host: localhost:1" in lines
    assert b"Connection: close" in lines
    assert not any(line.startswith((b"Authorization: Basic", b"Connection: keep")) for line in lines)


def test_the_front_leaves_authorization_alone_when_it_has_no_token() -> None:
    assert b"Authorization: Basic x" in Edit(wire="2025-06-18").head(HEAD)


def test_the_front_pins_the_version_of_a_handshake_and_nothing_else() -> None:
    edit = Edit(wire="2025-03-26")
    asked = json.dumps({"method": "initialize", "params": {"protocolVersion": "2025-11-25"}}).encode()
    assert json.loads(edit.body(asked))["params"]["protocolVersion"] == "2025-03-26"
    for other in (b'{"method":"tools/call","params":{"name":"initialize"}}', b'["initialize"', b"{}"):
        assert edit.body(other) == other
    assert Edit().body(asked) == asked
