"""`switchboard lab`: real client processes against a server's lab, and what is told of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx2
import pytest
from typer.testing import CliRunner

from switchboard.cli.lab.command import _chosen, app
from switchboard.cli.lab.driving import filled
from switchboard.errors import ConfigurationError
from tools.fleet.children import free_port

OWN_CLIENT = {
    "metadata-at-root": "passed",
    "no-registration": "failed",
    "fallback-2025-03-26": "passed",
    "fallback-without-metadata": "passed",
}
"""What becomes of `switchboard call`: it registers at the host as the SDK below it does."""
CLIENT = [sys.executable, str(Path(__file__).with_name("small_client.py"))]


def ran(*arguments: str) -> Any:
    """`switchboard lab` with these."""
    return CliRunner().invoke(app, list(arguments))


def test_a_client_signs_in_by_itself_has_a_home_of_its_own_and_is_judged_in_each_scenario(
    lab: str, tmp_path: Path
) -> None:
    junit = tmp_path / "report.xml"
    only = ("--scenario", "plain", "--scenario", "no-s256", "--scenario", "short-token")
    found = ran("run", "--url", lab, *only, "--jobs", "3", "--json", "--junit", str(junit), "--", *CLIENT)
    document = json.loads(found.stdout)
    rows = {row["name"]: row for row in document["scenarios"]}
    homes = {row["client"]["output"].partition("home is ")[2].splitlines()[0] for row in rows.values()}
    suite = ElementTree.parse(junit).getroot()[0]  # noqa: S314

    assert found.exit_code == 1, found.output
    assert {name: row["verdict"] for name, row in rows.items()} == {
        "plain": "passed",
        "no-s256": "failed",
        "short-token": "not_tried",
    }
    assert [row["client"]["exit"] for row in rows.values()] == [0, 0, 0]
    assert rows["no-s256"]["why"].startswith("No authorization where S256 is not advertised: ")
    assert len(homes) == 3
    assert not any(Path(home).exists() for home in homes)
    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3",
        "failures": "1",
        "errors": "0",
        "skipped": "1",
    }
    assert [child.tag for case in suite for child in case if child.tag != "system-out"] == ["failure", "skipped"]
    assert "\ufffd[31mhome is" in (suite[0].findtext("system-out") or "")


@pytest.mark.parametrize(
    ("how", "verdict", "said"),
    [("refuse", "passed", "exit 1"), ("crash", "crashed", "ended by SIGSEGV"), ("hang", "passed", "time was over")],
)
def test_a_client_that_crashed_is_told_from_one_that_refused(lab: str, how: str, verdict: str, said: str) -> None:
    timeout = "4" if how == "hang" else "60"
    found = ran("run", "--url", lab, "--scenario", "no-s256", "--timeout", timeout, "--", *CLIENT, "{url}", how)

    assert found.exit_code == (verdict != "passed"), found.output
    assert verdict in found.stdout
    assert said in found.stdout


def test_a_client_is_told_what_it_has_to_know_in_a_scenario(lab: str) -> None:
    shows = "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('LAB_')}))"
    names = ("plain", "given-client", "client-document", "machine", "enterprise-managed", "rotating-refresh")
    only = [part for name in names for part in ("--scenario", name)]
    found = ran("run", "--url", lab, *only, "--json", "--jobs", "2", "--", sys.executable, "-c", shows)
    rows = {row["name"]: json.loads(row["client"]["output"]) for row in json.loads(found.stdout)["scenarios"]}
    issuers = {name: told.pop("LAB_ISSUER", "") for name, told in rows.items()}
    company = rows["enterprise-managed"].pop("LAB_IDENTITY_PROVIDER")
    known = {"LAB_CLIENT_ID": "lab-client", "LAB_CLIENT_SECRET": "lab-secret"}

    assert {name: told.pop("LAB_SCENARIO") for name, told in rows.items()} == {name: name for name in names}
    assert rows == {
        "plain": {},
        "given-client": {"LAB_CLIENT_ID": "lab-client"},
        "client-document": {"LAB_CLIENT_DOCUMENT": "https://client.example/document.json"},
        "machine": {**known, "LAB_GRANT": "client_credentials"},
        "enterprise-managed": known,
        "rotating-refresh": {"LAB_PAUSES": "7,7"},
    }
    assert {name for name, issuer in issuers.items() if issuer} == {"given-client", "machine", "enterprise-managed"}
    assert all(issuer.startswith(f"{lab}/lab/run/") for issuer in issuers.values() if issuer)
    assert company == f"{issuers['enterprise-managed']}/idp"


def test_a_driver_of_a_client_of_others_is_started_as_any_client_is(lab: str) -> None:
    names = ("plain", "machine", "enterprise-managed")
    only = [part for name in names for part in ("--scenario", name)]
    driver = [sys.executable, "-m", "tools.lab.python_sdk"]
    found = ran("run", "--url", lab, *only, "--json", "--jobs", "2", "--", *driver)
    rows = json.loads(found.stdout)["scenarios"]

    assert {row["name"]: (row["verdict"], row["client"]["exit"]) for row in rows} == dict.fromkeys(names, ("passed", 0))


def test_a_report_tells_of_a_run_that_the_server_keeps(lab: str) -> None:
    first = ran("run", "--url", lab, "--scenario", "no-s256", "--json", "--", *CLIENT, "{url}", "crash")
    document = json.loads(first.stdout)
    again = json.loads(ran("report", document["page"], "--json").stdout)
    unknown = ran("report", "never-made", "--url", lab)

    assert [(row["name"], row["verdict"], row["why"]) for row in again["scenarios"]] == [
        ("no-s256", "crashed", "the client crashed: ended by SIGSEGV")
    ]
    assert unknown.exit_code == 3


def test_a_command_that_is_not_there_has_tried_nothing(lab: str) -> None:
    found = ran("run", "--url", lab, "--scenario", "plain", "--", "/no/such/client")

    assert found.exit_code == 1
    assert "not tried" in found.stdout
    assert "exit 127" in found.stdout


def test_wrong_use_and_a_lab_that_is_not_there_have_exit_codes_of_their_own(lab: str) -> None:
    unknown = ran("run", "--url", lab, "--scenario", "nothing", "--", "true")
    nobody = ran("run", "--url", f"http://127.0.0.1:{free_port()}", "--", "true")
    no_url = ran("list", "--url", "localhost")

    assert [each.exit_code for each in (unknown, nobody, no_url)] == [2, 3, 2]
    assert "there are plain, " in unknown.stderr


def test_without_a_server_one_is_started_for_the_run_and_ended_with_it(tmp_path: Path) -> None:
    found = ran("run", "--scenario", "plain", "--json", "--", *CLIENT)
    document = json.loads(found.stdout)

    assert found.exit_code == 0, found.output
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(document["page"])


def test_the_scenarios_are_listed(lab: str) -> None:
    names = [row["name"] for row in json.loads(ran("list", "--url", lab, "--json").stdout)]

    assert {"plain", "short-token", "wrong-iss"} <= set(names)
    assert "short-token" in ran("list", "--url", lab).stdout


def test_the_url_stands_where_a_command_has_room_for_it() -> None:
    assert filled(["client", "--url={url}", "call"], "http://x") == ["client", "--url=http://x", "call"]
    assert filled(["client", "call"], "http://x") == ["client", "call", "http://x"]


def test_a_run_that_is_told_to_end_ends_its_server_and_its_client() -> None:
    client = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]
    command = [sys.executable, "-m", "switchboard", "lab", "run", "--scenario", "plain", "--", *client]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        told = run.stderr.readline()
        page = told.rpartition("as they go: ")[2].strip()
        assert httpx2.get(page).status_code == 200
        run.terminate()
        assert run.wait(120) == 143
        left = run.stderr.read()
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(page)
    assert "Traceback" not in left


@pytest.mark.parametrize("scenario", ["no-s256", "plain-pkce-only", "wrong-issuer"])
def test_our_own_client_refuses_what_the_specification_has_clients_refuse(lab: str, scenario: str) -> None:
    client = [sys.executable, "-m", "switchboard", "call", "read", "--url", "{url}"]
    found = ran("run", "--url", lab, "--scenario", scenario, "--json", "--", *client)
    (row,) = json.loads(found.stdout)["scenarios"]

    assert (row["verdict"], row["client"]["exit"]) == ("passed", 1), row
    assert scenario == "wrong-issuer" or "does not offer PKCE with S256" in row["client"]["output"]


def test_what_a_server_does_not_offer_is_left_out_and_told_of_unless_it_is_asked_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    known = [{"name": "plain", "not_offered": ""}, {"name": "no-registration", "not_offered": "It needs an origin."}]
    chosen = [each["name"] for each in _chosen(known, ())]

    assert chosen == ["plain"]
    assert "no-registration is not offered by this server. It needs an origin." in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="'no-registration' is not offered by this server"):
        _chosen(known, ["no-registration"])


def test_scenarios_at_the_origin_of_the_lab_are_tried_one_after_the_other_by_a_client_that_is_in_many(
    lab: str,
) -> None:
    there = ("metadata-at-root", "no-registration", "fallback-2025-03-26", "fallback-without-metadata")
    only = [each for name in there for each in ("--scenario", name)]
    client = [sys.executable, "-m", "switchboard", "call", "read", "--url", "{url}"]
    found = ran("run", "--url", lab, *only, "--jobs", "4", "--json", "--", *client)
    rows = {row["name"]: row for row in json.loads(found.stdout)["scenarios"]}

    assert all(row["requests"] for row in rows.values()), rows
    assert {name: rows[name]["verdict"] for name in there} == OWN_CLIENT
