"""The files that carry the project: what they promise a newcomer and an operator holds."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from switchboard.sessions.streams.stored_stream import KEEPALIVE_S
from switchboard.settings import Settings
from tools.fleet.balancer import find_nginx

ROOT = Path(__file__).parents[2]
SENDING_ONE_CLIENT_TO_ONE_WORKER = ("ip_hash", "hash ", "sticky", "least_conn")


def pins() -> dict[str, str]:
    """The pinned version of each package."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def requirements() -> list[Requirement]:
    """What pyproject.toml asks for, development tools included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    return [Requirement(line) for line in [*project["dependencies"], *extras]]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_constraints_are_plain_pins_without_addresses_or_paths() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    assert lines == sorted(lines, key=str.lower)


def test_every_requirement_is_pinned_to_a_version_that_it_allows() -> None:
    versions = pins()
    unpinned = [str(need) for need in requirements() if canonicalize_name(need.name) not in versions]
    refused = [
        str(need) for need in requirements() if not need.specifier.contains(versions[canonicalize_name(need.name)])
    ]
    assert (unpinned, refused) == ([], [])


def test_compose_starts_redis_alone_with_persistence_a_health_check_and_a_loopback_port(
    compose: dict[str, Any],
) -> None:
    started = {name for name, service in compose["services"].items() if not service.get("profiles")}
    assert started == {"redis"}
    redis = compose["services"]["redis"]
    assert "--appendonly" in redis["command"]
    assert redis["healthcheck"]
    assert redis["volumes"]


def test_the_fleet_of_compose_is_two_workers_a_balancer_and_an_authorization_server(compose: dict[str, Any]) -> None:
    fleet = {name for name, service in compose["services"].items() if service.get("profiles") == ["fleet"]}
    assert fleet == {"worker-1", "worker-2", "balancer", "auth-server"}


def test_every_published_port_of_compose_is_bound_to_loopback(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_the_load_balancer_is_not_sticky_and_repeats_no_post() -> None:
    conf = "\n".join(
        line for line in (ROOT / "deploy/nginx.conf").read_text().splitlines() if not line.strip().startswith("#")
    )
    assert [word for word in SENDING_ONE_CLIENT_TO_ONE_WORKER if word in conf] == []
    assert "non_idempotent" not in conf
    assert "proxy_buffering off" in conf


def test_the_load_balancer_takes_a_silent_worker_for_gone_after_a_few_signs_of_life_at_most() -> None:
    waits = re.findall(r"proxy_(?:read|send)_timeout (\d+)s;", (ROOT / "deploy/nginx.conf").read_text())
    assert [2 * KEEPALIVE_S < int(wait) <= 5 * KEEPALIVE_S for wait in waits] == [True, True]


def test_nginx_accepts_the_load_balancers_configuration(tmp_path: Path) -> None:
    nginx = find_nginx()
    if nginx is None:
        pytest.skip("nginx is not installed")
    conf = (ROOT / "deploy/nginx.conf").read_text()
    local = tmp_path / "nginx.conf"
    local.write_text(f"pid {tmp_path}/nginx.pid;\n" + re.sub(r"worker-\d:", "127.0.0.1:", conf))
    done = subprocess.run([nginx, "-t", "-e", "stderr", "-c", str(local)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_readme_begins_with_the_two_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert "make serve" in first_screen
    assert "make test" in first_screen


def test_every_make_target_is_explained_for_contributors() -> None:
    targets = re.findall(r"^([a-z]+):.*?## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    explained = (ROOT / "CONTRIBUTING.md").read_text()
    assert [name for name in targets if f"`make {name}`" not in explained] == []


def test_links_between_the_documents_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [
        (document, link)
        for document in documents
        for link in re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", document.read_text())
    ]
    assert [f"{document.name}: {link}" for document, link in links if not (document.parent / link).exists()] == []


def test_every_test_that_a_document_names_exists() -> None:
    there = {
        name for path in ROOT.glob("tests/**/test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    named = {name for path in ROOT.glob("docs/*.md") for name in re.findall(r"`(test_\w+)`", path.read_text())}
    assert named
    assert named - there == set()


def test_the_unit_of_systemd_waits_longer_than_a_worker_needs_to_drain_and_tells_the_first_process_only() -> None:
    unit = dict(
        line.split("=", 1)
        for line in (ROOT / "deploy" / "systemd" / "switchboard.service").read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    fields = Settings.model_fields
    assert int(unit["TimeoutStopSec"]) > fields["drain_grace"].default + fields["drain_timeout"].default
    assert (unit["KillMode"], unit["Restart"]) == ("mixed", "on-failure")
    assert unit["ExecStart"].endswith("/.venv/bin/switchboard serve")
