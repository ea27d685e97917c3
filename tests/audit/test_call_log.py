"""The log of calls: batched, bounded, chained, and such that a changed or missing line of a copy is refused."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from switchboard.audit import call_log
from switchboard.audit.call_log import ALL, OFF, RedisCallLog
from switchboard.audit.exporting import lines
from switchboard.audit.reading import older, verify, verify_lines
from switchboard.cli.vault.audit_commands import app
from switchboard.config import PluginSection
from switchboard.settings import load_settings
from switchboard.state import State, open_state

KEY = "k" * 32


@pytest.fixture(params=["memory://", "redis"])
async def state(request: pytest.FixtureRequest) -> AsyncIterator[State]:
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    async with open_state(url) as opened:
        yield opened


def writing(state: State, usual: int = ALL) -> RedisCallLog:
    return RedisCallLog(state, [KEY], "w1", usual=usual, entries=10_000, days=30)


def note(calls: RedisCallLog, *names: str, given: object = None) -> None:
    for name in names:
        calls.note({"event": "tool.called", "who": "alice", "what": name, "outcome": "ok"}, given)


async def read(state: State) -> list[dict[str, str]]:
    return [dict(fields) for _, fields in reversed(await older(state, log="calls"))]


async def copied(state: State, *names: str) -> list[str]:
    """These calls as exported lines, the oldest first."""
    calls = writing(state)
    note(calls, *names)
    await calls.flush()
    return lines(list(reversed(await older(state, log="calls"))), "jsonl", "1").splitlines()


async def test_what_was_noted_is_written_when_the_worker_ends(state: State) -> None:
    calls = writing(state)
    async with calls.running():
        note(calls, "a", "b", given={"secret": "v4lue"})
        note(calls, "c", given={"secret": "other"})
    found = await read(state)
    assert [entry["what"] for entry in found] == ["a", "b", "c"]
    assert found[0]["digest"] == found[1]["digest"] != found[2]["digest"]
    assert "v4lue" not in json.dumps(found)
    verdict = await verify(state, [KEY])
    assert (verdict.entries, verdict.faults) == (3, [])


async def test_each_is_written_once_where_two_send_at_a_time(state: State) -> None:
    calls = writing(state)
    note(calls, "a", "b")
    await asyncio.gather(calls.flush(), calls.flush())
    assert [entry["what"] for entry in await read(state)] == ["a", "b"]


async def test_what_is_on_its_way_when_the_worker_ends_is_not_sent_again(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = asyncio.Event(), state.lookups.ask

    def asking(*command: Any) -> asyncio.Future[Any]:
        asked.set()
        return ask(*command)

    monkeypatch.setattr(call_log, "FLUSH_EVERY_S", 0)
    monkeypatch.setattr(state.lookups, "ask", asking)
    calls = writing(state)
    async with calls.running():
        note(calls, "a", "b")
        await asked.wait()
    assert [entry["what"] for entry in await read(state)] == ["a", "b"]


async def test_what_redis_does_not_take_is_sent_again_in_order(state: State) -> None:
    calls = writing(state)
    await state.redis.set(state.keys.audited_calls(), "no stream")
    note(calls, "a", "b")
    await calls.flush()
    note(calls, "c")
    await state.redis.delete(state.keys.audited_calls())
    await calls.flush()
    assert [entry["what"] for entry in await read(state)] == ["a", "b", "c"]
    assert (await verify(state, [KEY])).faults == []


async def test_what_is_too_much_to_keep_is_counted_and_told_in_the_log(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_log, "MOST_WAITING", 2)
    calls = writing(state)
    note(calls, "a", "b", "c", "d", "e")
    await calls.flush()
    found = await read(state)
    assert [(entry["event"], entry["what"]) for entry in found] == [
        ("calls.lost", "3"),
        ("tool.called", "a"),
        ("tool.called", "b"),
    ]


async def test_a_provider_is_noted_always_never_or_now_and_then(state: State) -> None:
    calls = writing(state, usual=OFF)
    calls.configure({"all": ALL, "few": 10})
    random.seed(1)
    drawn = [calls.one_of("few") for _ in range(10_000)]
    assert (calls.one_of("all"), calls.one_of("other"), set(drawn)) == (ALL, OFF, {OFF, 10})
    assert 800 < drawn.count(10) < 1_200


async def test_a_changed_entry_of_the_log_is_found(state: State) -> None:
    await copied(state, "a", "b", "c")
    ((id_, _), *_rest) = await older(state, log="calls")
    stored: Any = await state.redis.xrange(state.keys.audited_calls(), min=id_, max=id_)
    await state.redis.xdel(state.keys.audited_calls(), id_)
    changed = stored[0][1]["e"].replace('"what":"c"', '"what":"x"')
    await state.redis.xadd(state.keys.audited_calls(), {"e": changed})
    verdict = await verify(state, [KEY])
    assert verdict.entries == 3
    assert [fault.partition(": ")[2] for fault in verdict.faults] == ["changed, or written without SECRET_KEY"]


async def test_a_copy_is_whole_in_any_order_and_with_lines_twice(state: State) -> None:
    copy = await copied(state, "a", "b", "c")
    assert verify_lines([*reversed(copy), copy[0], ""], [KEY]).faults == []


async def test_a_line_of_a_copy_that_is_changed_or_missing_is_refused(state: State) -> None:
    copy = await copied(state, "a", "b", "c")
    (changed,) = verify_lines([copy[0], copy[1].replace('"what": "b"', '"what": "x"')], [KEY]).faults
    assert changed.startswith("line 2 ")
    (missing,) = verify_lines([copy[0], copy[2]], [KEY]).faults
    assert "1 entries before this one are missing" in missing
    assert verify_lines(copy, ["another key that is long"]).entries == 3
    assert len(verify_lines(copy, ["another key that is long"]).faults) == 3
    broken = verify_lines([*copy, "{", "[1]", '{"id": 1}', '{"what": "no id"}'], [KEY])
    assert [fault.partition(":")[0] for fault in broken.faults] == ["line 4", "line 5", "line 6", "line 7"]


def test_the_command_refuses_a_copy_with_a_missing_line_and_a_file_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    async def made() -> list[str]:
        async with open_state(None) as state:
            return await copied(state, "a", "b", "c")

    copy = asyncio.run(made())
    monkeypatch.setenv("SECRET_KEY", KEY)
    file = tmp_path / "audit.jsonl"
    file.write_text("\n".join(copy))
    whole = CliRunner().invoke(app, ["verify", str(file)])
    assert (whole.exit_code, whole.stdout.strip()) == (0, "3 entries, 0 faults")
    file.write_text("\n".join([copy[0], copy[2]]))
    cut = CliRunner().invoke(app, ["verify", str(file), "--json"])
    assert cut.exit_code == 1
    assert len(json.loads(cut.stdout)["faults"]) == 1
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "none")]).exit_code == 1


@pytest.mark.parametrize(("said", "meant"), [("all", "all"), (False, "off"), (True, "all"), (10, 10), (None, None)])
def test_a_section_may_say_all_off_or_one_of_how_many(said: object, meant: object) -> None:
    assert PluginSection.model_validate({"audit": said}).audit == meant


@pytest.mark.parametrize("said", ["some", 1, 0, -2, 1.5])
def test_a_section_that_says_anything_else_is_refused(said: object) -> None:
    with pytest.raises(ValidationError):
        PluginSection.model_validate({"audit": said})


@pytest.mark.parametrize(("said", "meant"), [("ALL", "all"), ("off", "off"), (" 10", 10)])
def test_the_setting_is_read_from_the_environment(said: str, meant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_CALLS", said)
    assert load_settings(secret_key=KEY).audit_calls == meant
