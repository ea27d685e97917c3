"""Tasks on two real workers behind a balancer, one of which dies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tools.fleet.workers import Fleet, only, running_fleet
from tools.messages import modern, modern_headers, request

ABLE: dict[str, Any] = {"elicitation": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}
PATIENCE_S = 300


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Two workers with the conformance fixtures, whose tools run as tasks."""
    env = only(tmp_path, "conformance", "tools.conformance.fixtures:plugin") | {"AUTH_MODE": "none"}
    with running_fleet(tmp_path, env=env) as running:
        yield running


def ask(url: str, method: str, params: dict[str, Any]) -> dict[str, Any]:
    message = modern(request(method, params=params), ABLE)
    answer: dict[str, Any] = httpx2.post(url, json=message, headers=modern_headers(message), timeout=60).json()
    return answer


def test_a_task_outlives_requests_but_not_its_worker_and_its_followers_hear_of_the_loss(fleet: Fleet) -> None:
    first, second = fleet.worker_url(0), fleet.worker_url(1)
    made = ask(first, "tools/call", {"name": "slow_compute", "arguments": {"seconds": 300}})["result"]
    task = made["taskId"]
    assert ask(second, "tasks/get", {"taskId": task})["result"]["status"] == "working"
    listen = modern(request("subscriptions/listen", params={"notifications": {"taskIds": [task]}}), ABLE)
    with httpx2.stream("POST", second, json=listen, headers=modern_headers(listen), timeout=PATIENCE_S) as stream:
        heard = (json.loads(line.removeprefix("data: ")) for line in stream.iter_lines() if line.startswith("data:"))
        assert next(heard)["params"]["notifications"] == {"taskIds": [task]}
        assert next(heard)["params"]["status"] == "working"
        fleet.kill(0)
        lost = next(heard)
    assert lost["method"] == "notifications/tasks"
    assert lost["params"]["status"] == "failed"
    assert lost["params"]["error"]["data"]["reason"] == "worker_lost"
    assert ask(second, "tasks/get", {"taskId": task})["result"]["error"] == lost["params"]["error"]


def test_a_task_whose_worker_is_asked_to_leave_is_finished_first(fleet: Fleet) -> None:
    first, second = fleet.worker_url(0), fleet.worker_url(1)
    task = ask(first, "tools/call", {"name": "slow_compute", "arguments": {"seconds": 3}})["result"]["taskId"]
    assert fleet.workers[0].stop(timeout=60) == 0
    assert ask(second, "tasks/get", {"taskId": task})["result"]["status"] == "completed"
