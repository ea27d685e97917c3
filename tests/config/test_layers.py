"""Built-in defaults < file < environment < overlay."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchboard.config import read
from switchboard.config.layers import Layer, merged, patched
from switchboard.config.overlay import KEPT_REVISIONS, Layered, Overlay, composed
from switchboard.errors import ConfigurationError
from switchboard.state import State, open_state

WriteFile = Callable[[str, str], Path]
Said = Callable[..., str]
YAML = 'separator: "."\nplugins: {everything: {prefix: always}}\nmcpServers: {x: {command: a, tags: [one]}}\n'

DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | st.text(max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), DOCUMENTS, max_size=3)


@pytest.fixture(params=["memory://", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    """An open state of each kind."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with open_state(url) as opened:
        yield opened


def overriding(document: Mapping[str, Any]) -> dict[str, str]:
    return {"CONFIG_OVERRIDES": json.dumps(document)}


def test_the_environment_wins_over_the_file_and_the_overlay_over_both(write: WriteFile) -> None:
    path = write("c.yaml", YAML)
    assert read(path, {}).separator == "."
    assert read(path, overriding({"separator": "-"})).separator == "-"
    assert read(path, overriding({"separator": "-"}), overlay=[{"separator": "_"}]).separator == "_"


def test_a_layer_changes_what_it_names_and_leaves_the_rest(write: WriteFile) -> None:
    found = read(write("c.yaml", YAML), overriding({"mcpServers": {"x": {"tags": ["two"]}, "y": {"command": "b"}}}))
    assert (found.servers["x"].command, found.servers["x"].tags) == ("a", ("two",))
    assert found.servers["y"].command == "b"
    assert found.plugins["everything"].prefix == "always"


def test_null_takes_away_what_a_lower_layer_says(write: WriteFile) -> None:
    found = read(write("c.yaml", YAML), {}, overlay=[{"mcpServers": {"x": None}, "separator": None}])
    assert (found.servers, found.separator) == ({}, "__")


def test_workers_whose_files_differ_agree_on_what_the_overlay_says(write: WriteFile) -> None:
    old, new = write("old.yaml", YAML), write("new.yaml", YAML.replace("one", "later").replace('"."', '"-"'))
    overlay = [{"mcpServers": {"x": {"enabled": False}, "added": {"command": "b"}}}]
    on_old, on_new = (read(path, {}, overlay=overlay) for path in (old, new))
    assert [found.servers["x"].enabled for found in (on_old, on_new)] == [False, False]
    assert on_old.servers["added"] == on_new.servers["added"]
    assert (on_old.separator, on_new.separator) == (".", "-")
    assert on_old.digest != on_new.digest


@pytest.mark.parametrize(
    ("variables", "overlay", "complaint"),
    [
        ({"CONFIG_OVERRIDES": "{"}, {}, "CONFIG_OVERRIDES: Expecting"),
        ({"CONFIG_OVERRIDES": "[]"}, {}, "CONFIG_OVERRIDES: must be a JSON object"),
        (overriding({"separator": "a b"}), {}, "CONFIG_OVERRIDES: separator: "),
        (overriding({"separator": "${GONE}"}), {}, "CONFIG_OVERRIDES: separator: the variable GONE"),
        ({}, {"mcpServers": {"y": {"colour": 1}}}, "the overlay: mcpServers.y.colour: "),
        ({}, {"mcpServers": {"x": {"timeout": 0}}}, "the overlay: mcpServers.x.timeout: "),
    ],
)
def test_a_complaint_names_the_layer_that_said_it(
    write: WriteFile, said: Said, variables: dict[str, str], overlay: dict[str, Any], complaint: str
) -> None:
    assert complaint in said(write("c.yaml", YAML), variables, overlay=[overlay])


@settings(deadline=None)  # a busy machine is no failure
@given(OBJECTS, st.lists(OBJECTS, max_size=4))
def test_patches_composed_do_what_they_do_one_after_the_other(document: Any, patches: list[Any]) -> None:
    layered, expected = Layered(), patched({}, document)
    for patch in patches:
        layered, expected = composed(layered, patch), patched(expected, patch)
    assert patched(patched(patched({}, document), layered.removed), layered.stated) == expected


def test_a_server_that_was_taken_away_and_added_anew_keeps_nothing_of_the_old_one(write: WriteFile) -> None:
    layered = composed(composed(Layered(), {"mcpServers": {"x": None}}), {"mcpServers": {"x": {"url": "https://a"}}})
    assert read(write("c.yaml", YAML), {}, overlay=layered.patches).servers["x"].command is None


async def test_a_change_of_the_overlay_reaches_every_worker_and_counts(state: State) -> None:
    overlay, elsewhere, told = Overlay(state), Overlay(state), []
    async with elsewhere.watched(lambda: told.append(1)):
        await overlay.change({"mcpServers": {"x": {"enabled": False}}})
        after = await overlay.change({"mcpServers": {"x": {"tags": ["a"]}, "y": None}})
    assert after.removed == {"mcpServers": {"y": None}}
    assert after.stated == {"mcpServers": {"x": {"enabled": False, "tags": ["a"]}}}
    assert await elsewhere.read() == after
    assert after.revision == 2


async def test_forgetting_gives_the_lower_layers_their_word_back(state: State) -> None:
    overlay = Overlay(state)
    await overlay.change({"mcpServers": {"x": {"enabled": False}}, "separator": "."})
    assert (await overlay.forget(("mcpServers", "x", "enabled"))).stated == {"separator": "."}
    assert (await overlay.forget(("separator", "deeper"))).stated == {"separator": "."}
    assert (await overlay.forget(())).stated == {}


async def test_what_a_check_refuses_never_comes_into_the_overlay(state: State) -> None:
    def check(_before: Layered, _after: Layered) -> None:
        raise ConfigurationError("no")

    overlay = Overlay(state)
    with pytest.raises(ConfigurationError):
        await overlay.change({"separator": "."}, check)
    assert (await overlay.read()).revision == 0


async def test_the_last_revisions_are_kept_with_who_made_them_and_can_be_brought_back(state: State) -> None:
    overlay = Overlay(state)
    for number in range(KEPT_REVISIONS + 5):
        await overlay.change({"separator": str(number)}, who=f"person {number}")
    history = await overlay.history()
    assert [each.layered.revision for each in history] == list(range(KEPT_REVISIONS + 5, 5, -1))
    assert (history[0].who, history[0].layered.stated) == ("person 54", {"separator": "54"})
    restored = await overlay.restore(history[-1].layered, who="somebody")
    assert (restored.revision, restored.stated) == (KEPT_REVISIONS + 6, {"separator": "5"})
    assert await overlay.read() == restored


async def test_what_is_put_somewhere_takes_the_place_of_what_lower_layers_say_there(state: State) -> None:
    overlay, below = Overlay(state), {"mcpServers": {"x": {"command": "a", "args": ["b"]}, "y": {}}}
    after = await overlay.put(("mcpServers", "x"), {"command": "c"})
    assert merged([Layer("file", below), *(Layer("overlay", patch) for patch in after.patches)]) == {
        "mcpServers": {"x": {"command": "c"}, "y": {}}
    }
    assert after.revision == 1


async def test_large_revisions_are_kept_for_less_long(state: State) -> None:
    overlay = Overlay(state)
    for number in range(12):
        await overlay.change({"presets": {"a": {"description": f"{number:x}" * 900_000}}})
    kept = await overlay.history()
    assert len(kept) < 10
    assert kept[0].layered.revision == 12
