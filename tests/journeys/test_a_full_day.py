"""Five official clients live the same day behind a load balancer without stickiness; each must see all of it. Three of
them live it once more on stdio, through `switchboard connect`.

The clients are processes of their own (`clients/`), take every step once and print a diary. A test reads a page of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.fleet.workers import COMMAND, Fleet, unmeasured

CLIENTS = Path(__file__).parent / "clients"
HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"
TOOLS = {
    "echo", "add", "longRunningOperation", "sampleLLM", "getTinyImage", "annotatedMessage", "getResourceReference",
    "elicitInputs", "mcp_apps_hello_world", "getTinySound", "getResourceLinks", "getStructuredContent", "elicitUrl",
    "listRoots", "multiRoundTrip", "headerParameter", "logEveryLevel", "whoami", "backgroundJob",
}  # fmt: skip
INVALID_PARAMS = -32602


@dataclass(frozen=True)
class Traveller:
    """A client and the era that it speaks."""

    script: str
    era: str
    bridged: bool = False
    """Whether it speaks stdio, to `switchboard connect`."""

    def __str__(self) -> str:
        return f"{self.script.split('.')[0]}-{self.era}{'-bridged' if self.bridged else ''}"


TRAVELLERS = [
    Traveller("python_sdk.py", "legacy"),
    Traveller("python_sdk.py", "modern"),
    Traveller("typescript_1.mjs", "legacy"),
    Traveller("typescript_2.mjs", "legacy"),
    Traveller("typescript_2.mjs", "modern"),
    Traveller("python_sdk.py", "modern", bridged=True),
    Traveller("typescript_1.mjs", "legacy", bridged=True),
    Traveller("typescript_2.mjs", "modern", bridged=True),
]


@dataclass(frozen=True)
class Diary:
    """What a client saw in its day."""

    traveller: Traveller
    protocol_version: str
    steps: dict[str, dict[str, Any]]

    @property
    def modern(self) -> bool:
        """Whether the client spoke 2026-07-28."""
        return self.traveller.era == "modern"

    def read(self, step: str) -> Any:
        """What came of a step; fails with what went wrong."""
        entry = self.steps[step]
        if "error" in entry:
            pytest.fail(f"{self.traveller}: {step}: {entry['error']}")
        return entry.get("ok")


@pytest.fixture(scope="module", params=TRAVELLERS, ids=str)
def diary(request: pytest.FixtureRequest, fleet: Fleet, token: str) -> Diary:
    """The diary of one client's day."""
    traveller: Traveller = request.param
    runtime = sys.executable if traveller.script.endswith(".py") else request.getfixturevalue("node")
    command = [runtime, traveller.script, fleet.url, token, traveller.era]
    env = unmeasured() | ({"BRIDGE": COMMAND} if traveller.bridged else {})
    done = subprocess.run(command, cwd=CLIENTS, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (
        f"{traveller} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    )
    told = json.loads(done.stdout)
    return Diary(traveller, told["protocolVersion"], told["steps"])


def test_the_newest_version_of_its_era_is_negotiated(diary: Diary) -> None:
    assert diary.protocol_version == (MODERN if diary.modern else HANDSHAKE)


def test_every_tool_is_listed_under_its_name(diary: Diary) -> None:
    assert set(diary.read("tools")) == TOOLS


def test_requests_of_one_client_are_served_by_both_workers(diary: Diary) -> None:
    seen = diary.read("whoami")
    assert len(seen["worker"]) == 2
    assert seen["state"] == ["redis"]


def test_a_handshake_client_keeps_one_session_and_a_modern_one_has_none(diary: Diary) -> None:
    sessions = diary.read("whoami")["session"]
    assert len(sessions) == 1
    assert (sessions == ["None"]) == diary.modern


def test_simple_calls_are_answered(diary: Diary) -> None:
    assert diary.read("echo") == "Echo: hello"
    assert diary.read("add") == "The sum of 2 and 3 is 5."


def test_wrong_arguments_are_a_result_that_names_the_argument(diary: Diary) -> None:
    assert diary.read("invalidArguments") == {"isError": True, "namesTheArgument": True}


def test_an_unknown_tool_is_a_protocol_error(diary: Diary) -> None:
    assert diary.read("unknownTool") == INVALID_PARAMS


def test_progress_arrives_complete_and_in_order(diary: Diary) -> None:
    found, steps = diary.read("progress"), [[1, 4], [2, 4], [3, 4], [4, 4]]
    # The TypeScript SDKs forget a call's progress handler when they read its answer, and hand out notifications a
    # moment after they read them: over stdio, what comes in one piece with the answer is lost in the client.
    hasty = diary.traveller.bridged and diary.traveller.script.endswith(".mjs")
    assert found in [{"seen": seen, "isError": False} for seen in ([steps, steps[:3]] if hasty else [steps])]


def test_a_call_is_cancelled_and_the_next_one_answered(diary: Diary) -> None:
    assert diary.read("cancellation") == {"cancelled": True, "after": "Echo: still here"}


def test_every_kind_of_content_comes_through(diary: Diary) -> None:
    assert diary.read("image") == ["text", "image", "text"]
    assert diary.read("sound") == ["text", "audio"]
    assert diary.read("embedded") == ["text", "resource", "text"]
    assert diary.read("links") == ["text", "resource_link", "resource_link"]
    assert diary.read("annotated") == [1, ["assistant", "user"]]


def test_structured_results_come_through(diary: Diary) -> None:
    assert diary.read("structured") == {"temperature": 4, "conditions": "Light rain", "humidity": 88}
    assert diary.read("app")["greeting"] == "Hello from MCP Apps!"


def test_a_modern_client_mirrors_a_parameter_in_a_header(diary: Diary) -> None:
    assert diary.read("header") == {"region": "eu-west", "header": "eu-west" if diary.modern else None}


def test_the_server_samples_the_clients_model(diary: Diary) -> None:
    assert diary.read("sampling") == "LLM sampling result: You said: good morning"


def test_a_form_is_filled_in_by_the_client(diary: Diary) -> None:
    outcome = json.loads(diary.read("form").removeprefix("Elicitation result: "))
    assert outcome["action"] == "accept"
    assert {key: outcome["content"][key] for key in ("name", "check", "integer")} == {
        "name": "Alice",
        "check": True,
        "integer": 7,
    }


def test_a_url_elicitation_is_accepted(diary: Diary) -> None:
    assert diary.read("url")["action"] == "accept"


def test_the_clients_roots_are_listed(diary: Diary) -> None:
    assert diary.read("roots") == {"roots": [{"uri": "file:///home/alice/project", "name": "project"}]}


def test_questions_that_follow_from_answers_are_asked_in_rounds(diary: Diary) -> None:
    assert diary.read("rounds") == {"city": "Oslo", "nights": 3}


def test_log_messages_below_the_level_do_not_arrive(diary: Diary) -> None:
    at_call = [level for level in diary.read("logs") if level in ("warning", "error", "critical", "alert", "emergency")]
    assert at_call == diary.read("logs")
    assert {"warning", "error", "critical", "alert", "emergency"} <= set(at_call)


def test_prompts_are_listed_and_rendered(diary: Diary) -> None:
    assert diary.read("prompts") == {
        "names": ["complex_prompt", "resource_prompt", "simple_prompt"],
        "kinds": [["text"], ["text", "text", "image"], ["text", "resource"]],
    }


def test_arguments_of_prompts_and_templates_are_completed(diary: Diary) -> None:
    assert diary.read("completions") == {"style": ["formal", "friendly"], "id": ["10", "100"]}


def test_all_hundred_resources_are_listed_in_pages(diary: Diary) -> None:
    assert diary.read("resources") == {"static": 100, "unique": True, "severalPages": True}
    assert diary.read("templates") == ["test://static/resource/{id}"]


def test_text_and_blob_resources_are_read(diary: Diary) -> None:
    assert diary.read("contents") == ["Resource 1: plain text.", "BlobResourceContents"]


def test_an_unknown_resource_is_refused(diary: Diary) -> None:
    assert diary.read("unknownResource") in (INVALID_PARAMS, -32002)


def test_a_subscribed_resource_is_reported_as_updated(diary: Diary) -> None:
    assert diary.read("subscription") == "test://static/resource/7"
